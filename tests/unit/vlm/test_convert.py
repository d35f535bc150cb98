"""Conversion of a published folder, and parity of nets and graphs with the reference; these run torch."""

import json
from pathlib import Path

import pytest

from models.shared.bundle_files import METADATA_FILE
from models.vlm.engine import GenerationOptions, Prompt
from models.vlm.onnx_engine import load_vlm_engine
from tests.support.training import run_training_module
from tests.support.vlm_folder import BUNDLE

LABELS = {"vision_tokens", "position_ids", "rope_delta", "logits_last", "logits_all_argmax"}


@pytest.mark.parametrize("path", ["torch", "onnx"])
def test_nets_and_graphs_agree_with_the_reference(path: str) -> None:
    done = run_training_module("tests.support.vlm_parity", path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 4
    for checks in found.values():
        assert {label for label, _, _ in checks} > LABELS
        assert [row for row in checks if not row[1] <= row[2]] == []


def test_a_folder_of_shards_converts_to_the_bundle_that_the_tests_open(tmp_path: Path) -> None:
    done = run_training_module("tests.support.vlm_folder", str(tmp_path), "stored", "1")
    assert done.returncode == 0, done.stderr
    for name in ("models/decoder.onnx", "models/decoder.onnx.data", "models/embed_tokens.bin"):
        assert (tmp_path / name).read_bytes() == (BUNDLE / name).read_bytes()
    difference = json.loads(done.stdout)
    assert 0 < difference["vision"] <= 2e-5
    assert 0 < difference["decoder"] <= 2e-5
    graph = (tmp_path / "models" / "vision-2d.onnx").read_bytes()
    assert b"site-packages" not in graph  # the exporter's stack traces
    assert str(Path(__file__).parents[3]).encode() not in graph


def test_rounded_weights_are_smaller_and_still_answer(tmp_path: Path) -> None:
    done = run_training_module("tests.support.vlm_folder", str(tmp_path), "int8", "0")
    assert done.returncode == 0, done.stderr
    difference = json.loads(done.stdout)
    assert difference["is_rounded"]
    assert 2e-5 < difference["decoder"] < 0.1
    data = "models/decoder.onnx.data"
    assert (tmp_path / data).stat().st_size < 0.6 * (BUNDLE / data).stat().st_size
    assert json.loads((tmp_path / METADATA_FILE).read_text())["interval"]["matrix_dtype"] == "int8"
    (answer,) = load_vlm_engine(tmp_path).generate([Prompt(question="Hello")], GenerationOptions(max_new_tokens=2))
    assert len(answer.token_ids) == 2
