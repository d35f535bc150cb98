"""The self-test tells an engine that computes something else from one that only rounds otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.encoder.bundle import Family, open_bundle
from models.encoder.engine import Encoder, FamilyInfo
from models.encoder.model import FamilyEncoder
from models.encoder.selftest import LIMITS, Agreement, Answers, Precision, agreements, ask, question
from models.shared.runtimes.graph import Array, FloatArray, Graph
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.shared.runtimes.openvino_cpu import OpenVinoRuntime
from tests.support.bundles import write_bundle


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return open_bundle(write_bundle(tmp_path_factory.mktemp("bundle"))).family("2D-CXR")


class Distorting:
    """A runtime whose answers are changed, as by an engine in another arithmetic, or a wrong one."""

    name = "distorting"

    def __init__(self, *, relative: float = 0.0, transposed: bool = False) -> None:
        self.relative = relative
        self.transposed = transposed

    def open(self, path: Path) -> Graph:
        """Open the graph in the reference."""
        return DistortingGraph(OnnxRuntime(threads=1).open(path), self)


class DistortingGraph:
    def __init__(self, graph: Graph, how: Distorting) -> None:
        self._graph = graph
        self._how = how
        self._random = np.random.default_rng(5)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[FloatArray]:
        if self._how.transposed and "images" in inputs:
            inputs = {"images": np.ascontiguousarray(np.swapaxes(inputs["images"], -1, -2))}
        answers = self._graph.run(outputs, inputs)
        return [
            (answer * (1 + self._how.relative * self._random.standard_normal(answer.shape))).astype(np.float32)
            for answer in answers
        ]


def told(family: Family, runtime: Distorting | OpenVinoRuntime, precision: Precision) -> list[Agreement]:
    asked = question(family.info)
    reference = ask(FamilyEncoder(family, OnnxRuntime(threads=1)), asked)
    other = ask(FamilyEncoder(family, runtime), asked, sides=reference.sides)
    return list(agreements(reference, other, LIMITS[precision]))


def test_two_engines_in_full_precision_agree(family: Family) -> None:
    rows = told(family, OpenVinoRuntime(threads=1), Precision.FULL)
    assert [row.quantity for row in rows] == [
        "tokens_cosine",
        "embeddings_cosine",
        "attention_difference",
        "presence_prob_difference",
    ]
    assert all(row.ok for row in rows)


def test_the_rounding_of_half_precision_passes_as_such_only(family: Family) -> None:
    rounding = Distorting(relative=1e-2)
    assert all(row.ok for row in told(family, rounding, Precision.HALF))
    assert not all(row.ok for row in told(family, rounding, Precision.FULL))


@pytest.mark.parametrize("wrong", [Distorting(relative=0.3), Distorting(transposed=True)], ids=["noise", "transposed"])
def test_an_engine_that_computes_something_else_is_found(wrong: Distorting, family: Family) -> None:
    assert not all(row.ok for row in told(family, wrong, Precision.HALF))


def test_the_question_is_the_same_on_every_machine_and_fits_the_family(family: Family) -> None:
    volume: FamilyInfo = replace(family.info, input_depth=20, pad_value=-1.0)
    asked = question(volume)
    assert asked.shape == (1, 20, 80, 80)
    assert (asked[0, :, -8:] == -1).all()
    assert asked[0, :, :-8].min() >= 0
    assert asked.max() <= 1
    np.testing.assert_array_equal(asked, question(volume))
    assert question(family.info, images=3).shape == (3, 80, 80)


def test_reranking_is_compared_where_there_is_a_reranker(family: Family) -> None:
    asked = question(family.info)
    plain: Encoder = FamilyEncoder(family, OnnxRuntime(threads=1))
    answers = ask(plain, asked)
    assert (answers.sides, answers.rerank) == (None, None)
    scores = np.array([0.1, 0.9], dtype=np.float32)
    one: Answers = replace(answers, rerank=scores)
    rows = {row.quantity: row for row in agreements(one, replace(answers, rerank=scores + 0.1), LIMITS[Precision.HALF])}
    assert rows["rerank_difference"].value == pytest.approx(0.1, abs=1e-6)
    assert not rows["rerank_difference"].ok
