"""Agreement with the reference on its fixtures, and on a folder of other sizes, by torch in a process of its own."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.training import REPOSITORY, run_training_module, training_interpreter

FIXTURES = REPOSITORY / "tests" / "fixtures" / "medreco_parity"
FILES = sorted(path.name for path in FIXTURES.glob("*.npz"))
Arrays = dict[str, np.ndarray]


def _rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    last = done.stdout.splitlines()[-1]
    assert last.startswith("INTERVAL_RESULT "), done.stderr
    return {row["file"]: row for row in json.loads(last.removeprefix("INTERVAL_RESULT "))["metrics"]}


@pytest.fixture(scope="module")
def torch_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("parity")
    done = run_training_module("models.encoder.parity", str(FIXTURES), "--out", str(out), "--path", "torch")
    assert json.loads((out / "result.json").read_text())["metrics"] == list(_rows(done).values())
    return _rows(done)


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("other")
    done = run_training_module("tests.support.parity_folder", str(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("file", FILES)
def test_torch_agrees_with_reference(file: str, torch_rows: dict[str, dict[str, Any]]) -> None:
    row = torch_rows[file]
    assert (row["status"], row["reason"]) == ("pass", ""), row  # a reason would name an array that nothing compared


def test_torch_agrees_with_a_plain_model_of_other_sizes(other_folder: Path, tmp_path: Path) -> None:
    done = run_training_module("models.encoder.parity", str(other_folder), "--out", str(tmp_path), "--path", "torch")
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in _rows(done).values()} == {"pass"}
    assert set(_rows(done)) == {path.name for path in other_folder.glob("*.npz")}


def test_exported_graphs_agree_with_a_plain_model_of_other_sizes(other_folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    arrays = ("conditional_few_bytes.npz", "conditional_volumes.npz", "rerank_films.npz")
    for name in ("retrieval.safetensors", "retrieval_config.json", *arrays):
        shutil.copy(other_folder / name, few / name)
    done = run_training_module("models.encoder.parity", str(few), "--out", str(tmp_path), "--path", "onnx")
    assert done.returncode == 0, done.stderr
    assert {name: row["status"] for name, row in _rows(done).items()} == dict.fromkeys(arrays, "pass")


def _shift(array: str, amount: float) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[array] = arrays[array] + np.asarray(amount, dtype=arrays[array].dtype)

    return change


def _without(array: str) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        del arrays[array]

    return change


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez(path, **arrays)


CHANGES: dict[str, tuple[Callable[[Arrays], None], str]] = {
    "encoder_films_of_three_modalities.npz": (_shift("tokens", 1e-3), "above tolerance: tokens"),
    "encoder_volumes_of_two_depths.npz": (_shift("tokens", np.nan), "not a number"),
    "conditional_mixed_films.npz": (_shift("abnormal_pred", 1), "above tolerance: abnormal_pred"),
    "conditional_same_film.npz": (_without("condition_index"), "'condition_index' is missing"),
    "conditional_volumes.npz": (_shift("modality", 3), "router index"),
    "rerank_films.npz": (_shift("rerank_logits_swapped", 1e-3), "above tolerance: rerank_logits_swapped"),
    "rerank_volumes.npz": (_shift("topk_indices", 1), "above tolerance: topk_indices"),
}


def test_whatever_is_changed_in_a_folder_is_found(other_folder: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(other_folder, changed)
    for name, (change, _) in CHANGES.items():
        with np.load(changed / name) as stored:
            arrays = dict(stored)
        change(arrays)
        _write(changed / name, arrays)
    (changed / "losses.npz").write_bytes(b"PK\x03\x04 no archive")
    (changed / "segmentation.npz").write_bytes(b"")
    done = run_training_module("models.encoder.parity", str(changed), "--out", str(tmp_path), "--path", "torch")
    assert done.returncode == 1, done.stderr
    rows = _rows(done)
    for name, (_, reason) in CHANGES.items():
        assert rows[name]["status"] == "fail", rows[name]
        assert reason in rows[name]["reason"], rows[name]
    assert (rows["losses.npz"]["status"], rows["pos_embedding.npz"]["status"]) == ("fail", "pass")
    assert (rows["segmentation.npz"]["status"], bool(rows["segmentation.npz"]["reason"])) == ("skip", True)


@pytest.mark.parametrize(
    ("key", "changed", "why"),
    [
        (b"fusion_module.norm.weight", b"fusion_module.norm.weighx", "it lacks fusion_module.norm.weight"),
        (b"rank_classifier.3.bias", b"rank_classifieR.3.bias", "no model here knows: rank_classifieR.3.bias"),
        (
            b"rank_module.layers.1.norm2.bias",
            b"rank_module.layers.1.norm3.bias",
            "it lacks rank_module.layers.1.norm2.bias",
        ),
    ],
)
def test_a_checkpoint_with_a_wrong_key_is_refused(key: bytes, changed: bytes, why: str, tmp_path: Path) -> None:
    content = (FIXTURES / "retrieval.safetensors").read_bytes()
    assert content.count(b'"' + key + b'"') == 1
    (tmp_path / "retrieval.safetensors").write_bytes(content.replace(b'"' + key + b'"', b'"' + changed + b'"'))
    shutil.copy(FIXTURES / "retrieval_config.json", tmp_path)
    done = run_training_module("models.encoder.parity", "--fixtures", str(tmp_path), "--out", str(tmp_path))
    assert done.returncode == 4, done.stderr
    assert why in done.stderr


def test_a_checkpoint_that_ends_early_is_refused(tmp_path: Path) -> None:
    content = (FIXTURES / "retrieval.safetensors").read_bytes()
    (tmp_path / "retrieval.safetensors").write_bytes(content[: len(content) // 2])
    done = run_training_module("models.encoder.parity", str(tmp_path), "--out", str(tmp_path))
    assert (done.returncode, "ends too early" in done.stderr) == (4, True), done.stderr


def test_a_torch_file_serves_as_checkpoint(other_folder: Path, tmp_path: Path) -> None:
    for name in ("retrieval_config.json", "conditional_volumes.npz"):
        shutil.copy(other_folder / name, tmp_path)
    load = "import sys, torch; from safetensors.torch import load_file"
    save = "torch.save({'model': load_file(sys.argv[1])}, sys.argv[2])"
    paths = [str(other_folder / "retrieval.safetensors"), str(tmp_path / "retrieval.pt")]
    interpreter = training_interpreter()
    assert interpreter is not None  # the folder was made by it
    subprocess.run([interpreter, "-c", f"{load}; {save}", *paths], check=True)
    done = run_training_module("models.encoder.parity", str(tmp_path), "--out", str(tmp_path), "--path", "torch")
    assert (done.returncode, set(_rows(done))) == (0, {"conditional_volumes.npz"}), done.stderr


def test_a_configuration_that_does_not_fit_the_weights_is_refused(other_folder: Path, tmp_path: Path) -> None:
    shutil.copy(other_folder / "retrieval.safetensors", tmp_path)
    shutil.copy(other_folder / "encoder_one_film_in_bytes.npz", tmp_path)
    (tmp_path / "retrieval_config.json").write_text('{"vision": {"image_size": 65}}')
    done = run_training_module("models.encoder.parity", str(tmp_path), "--out", str(tmp_path))
    assert (done.returncode, "must be a multiple of the patch" in done.stderr) == (4, True), done.stderr


def test_parity_without_fixtures_names_what_is_missing(tmp_path: Path) -> None:
    done = run_training_module("models.encoder.parity", str(tmp_path), "--out", str(tmp_path))
    assert done.returncode == 3
    assert "retrieval.safetensors" in done.stderr
