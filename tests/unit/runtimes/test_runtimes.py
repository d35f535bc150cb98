"""Every runtime on the processor answers alike and fails alike."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.shared.runtimes.graph import GraphOpenError, GraphRunError, Runtime
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.shared.runtimes.openvino_cpu import OpenVinoRuntime

GRAPH = Path(__file__).parents[2] / "fixtures" / "medreco_parity" / "exported_cxr_encoder.onnx"
IMAGES = np.random.default_rng(0).random((5, 80, 80), dtype=np.float32)

on_each = pytest.mark.parametrize(
    "make", [lambda: OnnxRuntime(threads=1), lambda: OpenVinoRuntime(threads=1)], ids=["onnxruntime", "openvino"]
)


@on_each
def test_a_runtime_answers_as_the_reference(make: Callable[[], Runtime]) -> None:
    (expected,) = OnnxRuntime(threads=1).open(GRAPH).run(["tokens"], {"images": IMAGES})
    (tokens,) = make().open(GRAPH).run(["tokens"], {"images": IMAGES})
    assert tokens.dtype == np.float32
    np.testing.assert_allclose(tokens, expected, atol=2e-5 * float(np.abs(expected).max()))


@on_each
@pytest.mark.parametrize("shade", [0.0, 100 / 255, 200 / 255, 1.0])
def test_an_image_of_one_shade_is_read_alike(make: Callable[[], Runtime], shade: float) -> None:
    """The first norm sees nothing but rounding there, and each runtime rounds in its own way."""
    black, image = np.zeros_like(IMAGES[:1]), np.full_like(IMAGES[:1], shade)
    (expected,) = OnnxRuntime(threads=1).open(GRAPH).run(["tokens"], {"images": black})
    (tokens,) = make().open(GRAPH).run(["tokens"], {"images": image})
    np.testing.assert_allclose(tokens, expected, atol=2e-5 * float(np.abs(expected).max()))


@on_each
def test_an_answer_is_not_overwritten_by_the_next(make: Callable[[], Runtime]) -> None:
    graph = make().open(GRAPH)
    (first,) = graph.run(["tokens"], {"images": IMAGES[:1]})
    kept = first.copy()
    graph.run(["tokens"], {"images": IMAGES[1:2]})
    np.testing.assert_array_equal(first, kept)


@on_each
def test_threads_do_not_mix_their_answers(make: Callable[[], Runtime]) -> None:
    graph = make().open(GRAPH)
    alone = [graph.run(["tokens"], {"images": image[None]})[0] for image in IMAGES]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda image: graph.run(["tokens"], {"images": image[None]})[0], [*IMAGES] * 4))
    for number, tokens in enumerate(together):
        np.testing.assert_allclose(tokens, alone[number % len(alone)], atol=1e-5)


@on_each
def test_a_file_that_is_no_graph_is_refused(make: Callable[[], Runtime], tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(GraphOpenError, match=r"encoder\.onnx"):
        make().open(path)


@on_each
def test_a_graph_that_gives_no_number_has_failed(make: Callable[[], Runtime]) -> None:
    with pytest.raises(GraphRunError, match="not finite"):
        make().open(GRAPH).run(["tokens"], {"images": np.full_like(IMAGES, np.nan)})


@on_each
def test_an_input_of_another_shape_is_a_failed_run(make: Callable[[], Runtime]) -> None:
    with pytest.raises(GraphRunError):
        make().open(GRAPH).run(["tokens"], {"images": IMAGES[:, :40]})
