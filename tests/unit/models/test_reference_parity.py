"""Agreement with the reference on its fixtures, by torch in a process of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.training import REPOSITORY, run_training_module

FIXTURES = REPOSITORY / "tests" / "fixtures" / "medreco_parity"
FILES = sorted(path.name for path in FIXTURES.glob("*.npz"))


@pytest.fixture(scope="module")
def torch_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("parity")
    done = run_training_module(
        "models.encoder.parity", "--fixtures", str(FIXTURES), "--out", str(out), "--path", "torch"
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith("INTERVAL_RESULT "), done.stderr
    assert json.loads(last.removeprefix("INTERVAL_RESULT ")) == json.loads((out / "result.json").read_text())
    return {row["file"]: row for row in json.loads((out / "result.json").read_text())["metrics"]}


@pytest.mark.parametrize("file", FILES)
def test_torch_agrees_with_reference(file: str, torch_rows: dict[str, dict[str, Any]]) -> None:
    row = torch_rows[file]
    assert row["status"] == "pass", row


@pytest.mark.parametrize(
    ("key", "changed", "code"),
    [
        (b"fusion_module.norm.weight", b"fusion_module.norm.weighx", "missing-key"),
        (b"rank_classifier.3.bias", b"rank_classifieR.3.bias", "unknown-key"),
        (b"rank_module.layers.1.norm2.bias", b"rank_module.layers.1.norm3.bias", "missing-key"),
    ],
)
def test_a_checkpoint_with_a_wrong_key_is_refused(key: bytes, changed: bytes, code: str, tmp_path: Path) -> None:
    content = (FIXTURES / "retrieval.safetensors").read_bytes()
    assert content.count(b'"' + key + b'"') == 1
    (tmp_path / "retrieval.safetensors").write_bytes(content.replace(b'"' + key + b'"', b'"' + changed + b'"'))
    done = run_training_module("models.encoder.parity", "--fixtures", str(tmp_path), "--out", str(tmp_path))
    assert done.returncode == 4, done.stderr
    assert code in done.stderr


def test_parity_without_fixtures_names_what_is_missing(tmp_path: Path) -> None:
    done = run_training_module("models.encoder.parity", "--fixtures", str(tmp_path), "--out", str(tmp_path))
    assert done.returncode == 3
    assert "retrieval.safetensors" in done.stderr
