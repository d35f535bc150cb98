"""What is built for a GPU, under which name it is kept, and when none of it is used."""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from models.shared.runtimes.graph import RuntimeUnavailableError
from models.shared.runtimes.tensorrt_gpu.cache import EngineCache
from models.shared.runtimes.tensorrt_gpu.plan import (
    DYNAMIC,
    AxisRange,
    BuildPlan,
    PlanError,
    Ranges,
    engine_key,
    plan_build,
    timing_key,
    weights_digest,
)
from models.shared.runtimes.tensorrt_gpu.probe import Gpu, probe

GRAPHS = Path(__file__).parents[2] / "fixtures" / "medreco_parity"
GPU = Gpu(name="NVIDIA L4", compute_capability="8.9", memory_bytes=24 << 30, driver_version=13000)


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Input shapes of a graph as TensorRT's parser tells them: -1 for a free axis."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return {
        node.name: tuple(size if isinstance(size, int) else DYNAMIC for size in node.shape)
        for node in session.get_inputs()
    }


def plan(**changes: Any) -> BuildPlan:
    shapes = shapes_of(GRAPHS / "exported_cxr_fusion.onnx")
    return plan_build(shapes, changes.pop("ranges", Ranges()), half_precision=True, workspace_bytes=1 << 30)


def test_every_free_axis_of_the_exported_graphs_has_a_range() -> None:
    ranges = Ranges(images=AxisRange(smallest=1, usual=2, largest=4))
    encoder = plan_build(
        shapes_of(GRAPHS / "exported_cxr_encoder.onnx"), ranges, half_precision=False, workspace_bytes=1
    )
    assert encoder.profiles["images"].smallest == (1, 80, 80)
    assert encoder.profiles["images"].usual == (2, 80, 80)
    assert encoder.profiles["images"].largest == (4, 80, 80)
    fusion = plan(ranges=ranges)
    assert fusion.profiles["tokens"].usual == (2, 16, 64)
    assert fusion.profiles["entity_rows"].largest == (80,)
    assert fusion.profiles["token_log_weight"].smallest == (1, 16)


def test_volumes_are_taken_one_by_one() -> None:
    volumes = plan_build(
        shapes_of(GRAPHS / "exported_ct_encoder.onnx"), Ranges(), half_precision=True, workspace_bytes=1
    )
    assert volumes.profiles["images"].largest == (1, 20, 80, 80)


def test_a_free_axis_nobody_knows_is_refused() -> None:
    with pytest.raises(PlanError, match="axis 1 of images"):
        plan_build({"images": (DYNAMIC, DYNAMIC, 80)}, Ranges(), half_precision=True, workspace_bytes=1)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 3), (1, 4, 3)])
def test_a_range_out_of_order_is_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not a range"):
        AxisRange(smallest=sizes[0], usual=sizes[1], largest=sizes[2])


KEY = engine_key(weights="w", plan=plan(), gpu=GPU, tensorrt_version="10.16.1.11")


@pytest.mark.parametrize(
    "other",
    [
        lambda: engine_key(weights="v", plan=plan(), gpu=GPU, tensorrt_version="10.16.1.11"),
        lambda: engine_key(weights="w", plan=plan(), gpu=GPU, tensorrt_version="10.17"),
        lambda: engine_key(
            weights="w", plan=plan(), gpu=replace(GPU, name="NVIDIA A10"), tensorrt_version="10.16.1.11"
        ),
        lambda: engine_key(
            weights="w", plan=plan(), gpu=replace(GPU, compute_capability="9.0"), tensorrt_version="10.16.1.11"
        ),
        lambda: engine_key(
            weights="w", plan=replace(plan(), half_precision=False), gpu=GPU, tensorrt_version="10.16.1.11"
        ),
        lambda: engine_key(
            weights="w",
            plan=plan(ranges=Ranges(images=AxisRange(smallest=1, usual=1, largest=8))),
            gpu=GPU,
            tensorrt_version="10.16.1.11",
        ),
    ],
    ids=["weights", "version", "device", "capability", "precision", "shapes"],
)
def test_an_engine_is_kept_under_all_it_depends_on(other: Callable[[], str]) -> None:
    assert other() != KEY
    assert engine_key(weights="w", plan=plan(), gpu=GPU, tensorrt_version="10.16.1.11") == KEY


def test_timings_are_shared_by_the_graphs_of_one_device_and_version() -> None:
    assert timing_key(gpu=GPU, tensorrt_version="10") == timing_key(
        gpu=replace(GPU, memory_bytes=1), tensorrt_version="10"
    )
    assert timing_key(gpu=GPU, tensorrt_version="10") != timing_key(gpu=GPU, tensorrt_version="11")


def test_the_digest_of_a_graph_covers_its_external_data(tmp_path: Path) -> None:
    graph = tmp_path / "encoder.onnx"
    graph.write_bytes(b"graph")
    alone = weights_digest(graph)
    (tmp_path / "encoder.onnx.data").write_bytes(b"weights")
    with_data = weights_digest(graph)
    (tmp_path / "encoder.onnx.data").write_bytes(b"weightz")
    assert len({alone, with_data, weights_digest(graph)}) == 3


def test_a_kept_engine_comes_back_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    assert cache.engine(KEY) is None
    assert cache.timings(KEY) == b""
    cache.keep_engine(KEY, b"engine")
    cache.keep_timings(KEY, b"timings")
    assert (cache.engine(KEY), cache.timings(KEY)) == (b"engine", b"timings")
    (path,) = (tmp_path / "engines").glob("*.engine")
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.engine(KEY) is None
    assert len(list((tmp_path / "engines").iterdir())) == 2


class Driver:
    """The functions of libcuda that the probe calls."""

    def __init__(self, *, devices: int = 1, failing: str = "") -> None:
        self.devices = devices
        self.failing = failing

    def __getattr__(self, function: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            if function == self.failing:
                return 999
            self._answer(function, arguments)
            return 0

        return call

    def _answer(self, function: str, arguments: tuple[Any, ...]) -> None:
        numbers = {"cuDeviceGetCount": self.devices, "cuDriverGetVersion": 13000, "cuDeviceTotalMem_v2": 24 << 30}
        if function in numbers:
            arguments[0]._obj.value = numbers[function]
        elif function == "cuDeviceGetName":
            arguments[0].value = b"NVIDIA L4"
        elif function == "cuDeviceGetAttribute":
            arguments[0]._obj.value = {75: 8, 76: 9}[arguments[1]]


def test_the_probe_tells_the_gpu_of_the_machine() -> None:
    assert probe(lambda name: Driver()) == GPU


@pytest.mark.parametrize(
    ("driver", "why"),
    [
        (Driver(devices=0), "knows no GPU"),
        (Driver(failing="cuInit"), "cuInit"),
        (Driver(failing="cuDeviceGetAttribute"), "cuDeviceGetAttribute"),
    ],
)
def test_the_probe_says_why_there_is_no_gpu(driver: Driver, why: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match=why):
        probe(lambda name: driver)


def test_a_machine_without_a_driver_has_no_gpu() -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(RuntimeUnavailableError, match="no NVIDIA driver"):
        probe(missing)
