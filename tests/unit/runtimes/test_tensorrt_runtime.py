"""The TensorRT path up to the engine: what is asked of TensorRT and CUDA, in which order, with which arrays."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.shared.runtimes.graph import GraphOpenError, GraphRunError, RuntimeUnavailableError
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.shared.runtimes.tensorrt_gpu.building import Wanted
from models.shared.runtimes.tensorrt_gpu.cache import EngineCache
from models.shared.runtimes.tensorrt_gpu.memory import DeviceBuffers
from models.shared.runtimes.tensorrt_gpu.probe import Gpu, probe
from models.shared.runtimes.tensorrt_gpu.runtime import TensorRtRuntime
from tests.support.tensorrt import Cudart, Recorder

GRAPHS = Path(__file__).parents[2] / "fixtures" / "medreco_parity"
ENCODER, FUSION = GRAPHS / "exported_cxr_encoder.onnx", GRAPHS / "exported_cxr_fusion.onnx"
GPU = Gpu(name="NVIDIA L4", compute_capability="8.9", memory_bytes=24 << 30, driver_version=13000)
IMAGES = np.random.default_rng(0).random((2, 80, 80), dtype=np.float32)


def runtime(folder: Path, trt: Recorder, cudart: Cudart | None = None) -> TensorRtRuntime:
    return TensorRtRuntime(trt, cudart or Cudart(), GPU, EngineCache(folder), Wanted(workspace_bytes=1024))


def test_an_engine_is_built_once_and_then_taken_from_the_cache(tmp_path: Path) -> None:
    first, second = Recorder(), Recorder()
    runtime(tmp_path, first).open(ENCODER)
    assert first.calls == ["parse", "workspace 1024", "fp16", "prefer", "timings b''", "build", "deserialize"]
    runtime(tmp_path, second).open(ENCODER)
    assert second.calls == ["parse", "deserialize"]


def test_the_next_graph_is_built_with_the_timings_of_the_first(tmp_path: Path) -> None:
    trt = Recorder()
    opened = runtime(tmp_path, trt)
    opened.open(ENCODER)
    opened.open(FUSION)
    assert [call for call in trt.calls if call.startswith("timings")] == ["timings b''", "timings b'+'"]


def test_timings_of_another_driver_are_left_aside(tmp_path: Path) -> None:
    runtime(tmp_path, Recorder()).open(ENCODER)
    trt = Recorder(timings_of_this_driver=False)
    runtime(tmp_path, trt).open(FUSION)
    assert trt.calls[-4:] == ["timings b'+'", "timings b''", "build", "deserialize"]


def test_timings_that_cannot_be_read_are_left_aside(tmp_path: Path) -> None:
    runtime(tmp_path, Recorder()).open(ENCODER)
    (kept,) = tmp_path.glob("*.timings")
    EngineCache(tmp_path).keep_timings(kept.stem, b"+damaged")
    trt = Recorder()
    runtime(tmp_path, trt).open(FUSION)
    assert trt.calls[-4:] == ["timings b'+damaged'", "timings b''", "build", "deserialize"]


def test_what_overflows_in_half_precision_stays_in_single(tmp_path: Path) -> None:
    trt = Recorder()
    runtime(tmp_path, trt).open(ENCODER)
    assert trt.held == {"float32": {"NORMALIZATION", "SOFTMAX", "REDUCE", "UNARY", "ACTIVATION"}}


def test_a_damaged_engine_is_built_again(tmp_path: Path) -> None:
    runtime(tmp_path, Recorder()).open(ENCODER)
    (kept,) = tmp_path.glob("*.engine")
    kept.write_bytes(b"damaged")
    again = Recorder()
    runtime(tmp_path, again).open(ENCODER)
    assert "build" in again.calls


def test_an_engine_that_tensorrt_will_not_have_any_more_is_built_again(tmp_path: Path) -> None:
    runtime(tmp_path, Recorder()).open(ENCODER)
    (kept,) = tmp_path.glob("*.engine")
    EngineCache(tmp_path).keep_engine(kept.stem, b"/of/another/version")
    again = Recorder()
    runtime(tmp_path, again).open(ENCODER)
    assert again.calls[-3:] == ["timings b'+'", "build", "deserialize"]


def test_building_tells_how_far_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        runtime(tmp_path, Recorder()).open(ENCODER)
    percents = [getattr(record, "percent", 0) for record in caplog.records if record.message == "engine.progress"]
    assert percents == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


def test_a_graph_that_tensorrt_cannot_parse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphOpenError, match="tensorrt cannot open exported_cxr_encoder"):
        runtime(tmp_path, Recorder(accepts=False)).open(ENCODER)


def test_arrays_go_to_the_device_and_come_back(tmp_path: Path) -> None:
    reference = OnnxRuntime(threads=1)
    (expected,) = reference.open(ENCODER).run(["tokens"], {"images": IMAGES})
    opened = runtime(tmp_path, Recorder())
    graph = opened.open(ENCODER)
    for count in (1, 2, 1):  # buffers grow, and are used again by smaller arrays
        (tokens,) = graph.run(["tokens"], {"images": IMAGES[:count]})
        np.testing.assert_allclose(tokens, expected[:count], atol=1e-5)
    inputs = {
        "tokens": expected,
        "entity_rows": np.array([12, 35, 3]),
        "token_log_weight": np.zeros(expected.shape[:2], dtype=np.float32),
    }
    names = ["embeddings", "logits"]  # a graph has more outputs than are asked for
    for given, wanted in zip(
        opened.open(FUSION).run(names, inputs), reference.open(FUSION).run(names, inputs), strict=True
    ):
        np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_a_batch_larger_than_was_built_for_is_a_failed_run(tmp_path: Path) -> None:
    graph = runtime(tmp_path, Recorder()).open(ENCODER)
    with pytest.raises(GraphRunError, match="size outside what the engine was built for"):
        graph.run(["tokens"], {"images": np.zeros((65, 80, 80), dtype=np.float32)})


def test_a_full_device_is_a_failed_run(tmp_path: Path) -> None:
    graph = runtime(tmp_path, Recorder(), Cudart(memory_bytes=100)).open(ENCODER)
    with pytest.raises(GraphRunError, match="cudaMalloc"):
        graph.run(["tokens"], {"images": IMAGES})


def test_device_memory_is_given_back() -> None:
    cudart = Cudart()
    buffers = DeviceBuffers(cudart)
    buffers.upload("images", IMAGES)
    buffers.reserve("tokens", 10)
    buffers.reserve("tokens", 20)
    assert cudart.held == 2
    buffers.close()
    assert cudart.held == 0


def has_gpu() -> bool:
    try:
        probe()
    except RuntimeUnavailableError:
        return False
    return True


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_without_a_gpu_tensorrt_is_never_imported() -> None:
    code = (
        "import sys, pathlib\n"
        "from models.encoder.engines import open_runtime\n"
        "from models.shared.runtimes.graph import RuntimeUnavailableError\n"
        "try: open_runtime('tensorrt', threads=1, engine_folder=pathlib.Path('x'), batch_images=4)\n"
        "except RuntimeUnavailableError: pass\n"
        "sys.exit('tensorrt' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
