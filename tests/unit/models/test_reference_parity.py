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


def test_parity_without_fixtures_names_what_is_missing(tmp_path: Path) -> None:
    done = run_training_module("models.encoder.parity", "--fixtures", str(tmp_path), "--out", str(tmp_path))
    assert done.returncode == 3
    assert "retrieval.safetensors" in done.stderr
