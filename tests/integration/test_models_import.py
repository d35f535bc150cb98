"""`models import`, `select` and `verify` on real files: what is installed serves, what fails leaves nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from app.cli.main import main
from app.settings import load
from models.encoder.bundle import open_bundle
from models.encoder.onnx_engine import load_model
from models.importing import selftest_data
from models.shared.bundle_files import read_metadata, write_sums
from models.shared.vocabulary import load_vocabulary
from tests.support.checkpoints import REFERENCE, SIDE_PX, TOP_K, read_checkpoint, write_checkpoint
from tests.support.training import REPOSITORY, training_interpreter
from tests.support.vlm_folder import write_published

pytestmark = pytest.mark.timeout(900)  # six graphs are exported, which takes minutes where others work too

NAME = "tiny-model"
SIZES = ("--side", str(SIDE_PX), "--top-k", str(TOP_K), "--depth", "3D-Brain-MRI=20")
TWO = ("--modality", "2D-CXR", "--modality", "3D-Brain-MRI")
FIXTURES = REFERENCE.parent


class Node(NamedTuple):
    """A node's settings file and state folder."""

    config: Path
    state: Path

    def names(self) -> list[str]:
        """Everything that lies where bundles are installed, but for the lock."""
        root = self.state / "bundles"
        return sorted(path.name for path in root.iterdir() if path.name != ".importing.lock") if root.exists() else []


class Told(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Told]


def node_in(folder: Path, *, python: str | None = None, bundle: str = "") -> Node:
    lines = ["interval:", "  node:", f"    state_dir: {folder / 'state'}"]
    if python := python or training_interpreter():
        lines += ["  models:", f"    training_python: {python}"]
    if bundle:
        lines += ["  encode:", f"    bundle: {bundle}"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "interval.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Node(folder / "interval.yaml", folder / "state")


@pytest.fixture(autouse=True)
def _quiet_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.logs.configure", lambda level: None)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    def run(node: Node, verb: str, *arguments: str) -> Told:
        capfd.readouterr()
        code = main(["models", verb, *arguments, "--config", str(node.config)])
        return Told(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Node, dict[str, Any]]:
    """A node that has imported two families of the reference checkpoint, and what the command printed."""
    if training_interpreter() is None:
        pytest.skip("needs requirements-train.txt (torch) in this environment or in .venv-train")
    node = node_in(tmp_path_factory.mktemp("importing"))
    arguments = ["--name", NAME, "--license", "CC0", "--origin", "a test", *SIZES, *TWO, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "app", "models", "import", str(REFERENCE), *arguments, "--config", str(node.config)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "import.exporting family=3D-Brain-MRI slices=20" in done.stderr
    return node, json.loads(done.stdout)


def test_an_import_reports_what_it_found(imported: tuple[Node, dict[str, Any]]) -> None:
    node, told = imported
    assert node.names() == [NAME]
    assert told["bundle_id"] == open_bundle(node.state / "bundles" / NAME).info.bundle_id
    assert told["keys"] == {"used": 278, "known_unused": 58, "unknown": []}
    assert [expert["expert"] for expert in told["experts"]] == [0, 1, 2, 3, 4]
    assert told["betas"]["stored"] == 6
    assert told["families"] == ["2D-CXR", "3D-Brain-MRI"]
    assert 0 < told["peak_rss_bytes"] < 8e9
    assert told["bundle_bytes"] > 1e6
    worst = max(row["relative_error"] for rows in told["selftest"].values() for row in rows)
    assert 0 < worst < selftest_data.MAX_RELATIVE_ERROR
    assert {row["output"] for row in told["selftest"]["2D-CXR"]} == {
        "tokens",
        "embeddings",
        "latents",
        "presence",
        "rerank",
    }


def test_an_imported_bundle_says_where_it_came_from_and_that_nothing_was_measured(
    imported: tuple[Node, dict[str, Any]],
) -> None:
    folder = imported[0].state / "bundles" / NAME
    bundle = open_bundle(folder)
    assert bundle.origin["file"] == REFERENCE.name
    assert bundle.origin["sha256"] == imported[1]["source"]["sha256"]
    assert (bundle.origin["license"], bundle.origin["from"]) == ("CC0", "a test")
    entities = bundle.info.family("3D-Brain-MRI").entities
    assert [entity.index for entity in entities] == [e.index for e in load_vocabulary().of_modality("3D-Brain-MRI")]
    assert all(entity.measured is None for entity in entities)
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Nothing of it was" in card
    assert "never clinically validated" in card
    assert "CC0" in (folder / "LICENSE").read_text(encoding="utf-8")
    shapes = {name: row["spatial_shape"] for name, row in _formats(folder).items()}
    assert shapes == {"2d-cxr": [80, 80], "3d-brain-mri": [20, 80, 80]}


def _formats(folder: Path) -> dict[str, Any]:
    inputs: dict[str, Any] = read_metadata(folder)["network_data_format"]["inputs"]
    return inputs


def test_what_is_served_is_what_the_reference_computed(imported: tuple[Node, dict[str, Any]]) -> None:
    """The numbers are those of the research code itself, not of this product's nets."""
    family = load_model(imported[0].state / "bundles" / NAME, intra_op_threads=1).family("2D-CXR")
    fixture = np.load(FIXTURES / "conditional_cxr.npz")
    images = fixture["video"].reshape(-1, SIDE_PX, SIDE_PX).astype(np.float32)
    tokens = family.encode(images)
    np.testing.assert_allclose(tokens, fixture["image_tokens"], atol=2e-5)
    rows = fixture["condition_index"].tolist()
    embeddings = family.read(tokens, rows).embeddings
    own = embeddings[np.arange(len(rows)), np.arange(len(rows))]  # in the fixture each image has its own condition
    np.testing.assert_allclose(own, fixture["fused_latents"], atol=2e-5)


def test_the_kept_outputs_are_what_the_engine_gives_and_tell_when_it_does_not(
    imported: tuple[Node, dict[str, Any]],
) -> None:
    folder = imported[0].state / "bundles" / NAME
    family = load_model(folder, intra_op_threads=1).family("3D-Brain-MRI")
    expected = selftest_data.read_expected(folder / selftest_data.file_name("3d-brain-mri"))
    assert selftest_data.failing(selftest_data.deviations(family, expected)) == ()
    other = selftest_data.read_expected(folder / selftest_data.file_name("2d-cxr"))
    swapped = type(expected)(
        **{name: getattr(expected, name) for name in expected.__slots__} | {"rerank_logits": other.rerank_logits}
    )
    failing = selftest_data.failing(selftest_data.deviations(family, swapped))
    assert [deviation.output for deviation in failing] == ["rerank"]


def test_an_imported_bundle_is_listed_shown_verified_and_selected(
    imported: tuple[Node, dict[str, Any]], command: Command
) -> None:
    node, told = imported
    rows = {row["name"]: row for row in json.loads(command(node, "list", "--json").out)}
    assert rows[NAME]["kind"] == "retrieval"
    assert rows[NAME]["families"] == ["2D-CXR", "3D-Brain-MRI"]
    assert rows["interval-cxr-small"]["selected"]
    shown = command(node, "show", NAME).out
    assert "license: CC0" in shown
    assert "not measured" in shown
    assert command(node, "verify", NAME).code == 0
    selected = command(node, "select", NAME, "--json")
    assert json.loads(selected.out) == {"selected": NAME, "bundle_id": told["bundle_id"]}
    assert load(node.config, {}).encode.bundle == NAME
    assert json.loads(command(node, "verify", "--json").out)["bundle_id"] == told["bundle_id"]
    assert command(node, "select", "interval-cxr-small").code == 0
    assert load(node.config, {}).encode.bundle == "interval-cxr-small"


def test_a_bundle_that_the_settings_name_outranks_a_selection(
    imported: tuple[Node, dict[str, Any]], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = node_in(tmp_path, bundle="interval-cxr-small")
    refused = command(node, "select", "interval-cxr-small")
    assert refused.code == 2
    assert "encode.bundle" in refused.err
    assert not (node.state / "selected_bundle").exists()
    monkeypatch.setenv("INTERVAL_ENCODE__BUNDLE", NAME)
    assert command(imported[0], "select", "interval-cxr-small").code == 2
    assert command(imported[0], "list", "--json").out.count('"selected": true') == 1
    assert load(imported[0].config, {"INTERVAL_ENCODE__BUNDLE": NAME}).encode.bundle == NAME


def test_a_bundle_that_is_not_there_cannot_be_selected(command: Command, tmp_path: Path) -> None:
    node = node_in(tmp_path)
    refused = command(node, "select", "nonsense")
    assert refused.code == 2
    assert "interval-cxr-small" in refused.err


def test_a_name_that_is_taken_is_refused_before_anything_is_read(
    imported: tuple[Node, dict[str, Any]], command: Command
) -> None:
    refused = command(imported[0], "import", str(REFERENCE), "--name", NAME)
    assert refused.code == 2
    assert "--name" in refused.err
    assert command(imported[0], "import", str(REFERENCE), "--name", "interval-cxr-small").code == 2


@pytest.mark.parametrize("damage", ["byte", "graph"])
def test_verify_finds_damage(
    damage: str, imported: tuple[Node, dict[str, Any]], command: Command, tmp_path: Path
) -> None:
    node = node_in(tmp_path)
    folder = shutil.copytree(imported[0].state / "bundles" / NAME, node.state / "bundles" / NAME)
    graph = folder / "models" / "3d-brain-mri" / "rerank.onnx"
    if damage == "byte":
        raw = bytearray(graph.read_bytes())
        raw[len(raw) // 2] ^= 1
        graph.write_bytes(raw)
    else:
        graph.write_bytes(graph.read_bytes()[:1000])
        write_sums(folder)
    found = command(node, "verify", NAME)
    assert found.code == 1
    assert ("hash-mismatch" if damage == "byte" else "bad-graph") in found.err
    assert command(node, "select", NAME).code == 1


def test_a_source_that_is_refused_leaves_nothing(command: Command, tmp_path: Path) -> None:
    if training_interpreter() is None:
        pytest.skip("needs requirements-train.txt (torch) in this environment or in .venv-train")
    node = node_in(tmp_path)
    tensors = read_checkpoint()
    del tensors["to_fused_latent.weight"]
    source = write_checkpoint(tmp_path / "lacking.safetensors", tensors)
    refused = command(node, "import", str(source), *SIZES, "--json")
    assert refused.code == 4
    assert json.loads(refused.out) == {
        "ok": False,
        "code": "missing-key",
        "sentence": "lacking.safetensors is not a complete checkpoint: it lacks to_fused_latent.weight.",
    }
    assert "Traceback" not in refused.err
    assert node.names() == []


def test_a_vision_language_model_is_told_by_its_entries(command: Command, tmp_path: Path) -> None:
    if training_interpreter() is None:
        pytest.skip("needs requirements-train.txt (torch) in this environment or in .venv-train")
    node = node_in(tmp_path)
    published = write_published(tmp_path / "published")
    one = command(node, "import", str(published / "model-00001-of-00003.safetensors"))
    assert one.code == 4
    assert "give the folder that holds its configuration" in one.err
    told = json.loads(command(node, "import", str(published), "--name", "words", "--json").out)
    assert told["kind"] == "vlm"
    assert 0 < told["selftest"]["decoder"] < selftest_data.MAX_RELATIVE_ERROR
    assert command(node, "verify", "words").code == 0
    assert "vlm" in command(node, "show", "words").out
    refused = command(node, "select", "words")
    assert refused.code == 2
    assert "kind vlm" in refused.err
    assert node.names() == ["words"]


def test_a_source_that_is_not_there_is_refused(command: Command, tmp_path: Path) -> None:
    refused = command(node_in(tmp_path), "import", str(tmp_path / "nowhere.pt"))
    assert refused.code == 4
    assert refused.err.strip() == "interval: There is no such file."


def test_without_the_training_requirements_the_command_says_what_to_install(command: Command, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$1" in -c) echo torch onnx;; esac\n')
    python.chmod(0o755)
    for interpreter, said in ((str(python), "lacks torch, onnx"), (str(tmp_path / "none"), "does not run")):
        node = node_in(tmp_path / said, python=interpreter)
        missing = command(node, "import", str(REFERENCE))
        assert missing.code == 3
        assert said in missing.err
        assert "requirements-train.txt" in missing.err
        assert node.names() == []


def test_an_import_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    """Its converter only waits, so that the signal is sure to come in the middle."""
    python, node, process = _waiting_import(tmp_path)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing was installed" in said
    assert "Traceback" not in said
    assert node.names() == []
    assert not _is_alive(int((python.parent / "pid").read_text()))


def test_what_a_killed_import_left_is_removed_by_the_next(tmp_path: Path, command: Command) -> None:
    python, node, process = _waiting_import(tmp_path)
    running = command(node, "import", str(REFERENCE), "--name", "other")
    assert running.code == 2
    assert "Another import" in running.err
    process.kill()
    process.communicate(timeout=60)
    pid = int((python.parent / "pid").read_text())
    deadline_s = time.monotonic() + 60
    while _is_alive(pid) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not _is_alive(pid)
    assert len(node.names()) == 1
    python.write_text('#!/bin/sh\ncase "$1" in -c) ;; *) exit 9;; esac\n')
    assert command(node, "import", str(REFERENCE)).code == 1
    assert node.names() == []


def _waiting_import(tmp_path: Path) -> tuple[Path, Node, "subprocess.Popen[str]"]:
    """Start an import whose converter writes its process id and waits."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$1" in -c) ;; *) echo $$ > {tmp_path}/pid; exec sleep 600;; esac\n')
    python.chmod(0o755)
    node = node_in(tmp_path / "node", python=str(python))
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "models", "import", str(REFERENCE), "--config", str(node.config)],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline_s = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()):
        assert time.monotonic() < deadline_s, "the converter was never started"
        time.sleep(0.05)
    return python, node, process


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
