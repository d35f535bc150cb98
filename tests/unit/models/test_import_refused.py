"""What a checkpoint may come as, and what is refused: each in one sentence, and no code of a file is ever run."""

import functools
import json
import tempfile
from typing import Any

import pytest

from tests.support.training import run_training_module

REFUSED = {
    "code": ("unsafe-pickle", "evil.pt holds more than weights"),
    "code-old-format": ("unsafe-pickle", "it was not opened"),
    "plain-pickle-0": ("not-safetensors", "plain-0.pkl is not a checkpoint"),
    "plain-pickle-2": ("unsafe-pickle", "could run code"),
    "plain-pickle-4": ("unsafe-pickle", "could run code"),
    "truncated-torch": ("truncated-file", "half.pt is damaged, ends too early"),
    "truncated-old-format": ("truncated-file", "ends too early"),
    "truncated-safetensors": ("truncated-file", "half.safetensors is damaged, ends too early"),
    "image": ("not-safetensors", "film.png is not a checkpoint"),
    "empty": ("not-safetensors", "empty.pt is not a checkpoint"),
    "other-model": ("other-model", "resnet.pt is no MedReCo checkpoint"),
    "other-model-safetensors": ("other-model", "its first is fc"),
    "list": ("no-tensors", "holds no tensors by name"),
    "no-tensors": ("no-tensors", "holds no tensors by name"),
    "missing-key": ("missing-key", "it lacks fusion_module.layers.1.norm2.weight."),
    "missing-part-of-reranker": ("missing-key", "it lacks rank_module.sep_token."),
    "missing-expert": ("missing-expert", "experts 0 to 2, but 2D-Ultrasound needs expert 4"),
    "wrong-shape": ("wrong-shape", "wrong shape: fusion_module.layers.1.norm2.weight."),
    "wrong-type": ("wrong-type", "no plain floating-point tensors: fusion_module.layers.1.norm2.weight."),
    "complex": ("wrong-type", "fusion_module.layers.1.norm2.weight."),
    "sparse": ("wrong-type", "fusion_module.layers.1.norm2.weight."),
    "nan": ("not-finite", "(NaN or infinite): fusion_module.layers.1.norm2.weight."),
    "infinite": ("not-finite", "(NaN or infinite): fusion_module.layers.1.norm2.weight."),
    "missing-part": ("missing-file", "the file model-00002-of-00003.safetensors is missing"),
    "bad-index": ("bad-index", "index of its parts that cannot be read"),
    "two-files": ("ambiguous-folder", "2 checkpoint files"),
    "empty-folder": ("ambiguous-folder", "no checkpoint file"),
    "nothing": ("missing-file", "nowhere.pt is missing"),
    "odd-side": ("odd-side", "multiple of the patch"),
    "too-large-side": ("odd-side", "at most 24 x 24 patches"),
    "too-many-tokens": ("odd-top-k", "--top-k"),
    "odd-depth": ("odd-depth", "multiples of 10 slices, not 35"),
}
WHOLE = ("safetensors", "parts", "model-optim-step", "model", "bare", "old-format", "folder")


@functools.cache
def told() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        done = run_training_module("tests.unit.models.import_cases", folder)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("form", WHOLE)
def test_a_whole_checkpoint_is_read_in_every_form(form: str) -> None:
    said = told()[form]
    assert said["code"] == "", said
    assert said["used"] == 278
    assert said["unknown"] == []


def test_a_checkpoint_without_reranker_is_whole() -> None:
    assert told()["without-reranker"]["used"] == 278 - 69


def test_an_entry_that_nothing_knows_is_named_and_left_out() -> None:
    assert told()["unknown"]["unknown"] == ["surprise.weight"]
    assert told()["unknown"]["used"] == 278


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_whole_checkpoint_is_refused_in_one_sentence(case: str) -> None:
    code, part = REFUSED[case]
    said = told()[case]
    assert said["code"] == code
    assert part in said["sentence"]
    assert said["sentence"].endswith(".")
    assert "\n" not in said["sentence"]
    assert len(said["sentence"]) < 250


def test_every_case_is_judged() -> None:
    assert set(told()) - {"pwned", "experts", "without-reranker", "unknown"} == {*REFUSED, *WHOLE}


def test_no_code_of_a_file_was_run() -> None:
    assert told()["pwned"] is False


def test_experts_that_were_never_trained_are_told_by_their_weights() -> None:
    judged = {row["expert"]: row for row in told()["experts"]}
    assert {number: row["verdict"] for number, row in judged.items()} == {
        0: "trained",
        1: "never trained",
        2: "trained in part",
        3: "copy of 0",
        4: "trained",
    }
    assert judged[0]["doubt"] is None
    assert "never trained in 1 of its 2 layers" in judged[2]["doubt"]
    assert "untrained copy of expert 0" in judged[3]["doubt"]
