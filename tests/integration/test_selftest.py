"""`selftest` and the start of the work role: an engine that disagrees is named, and does not serve."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import app.engines
from app.cli.main import main
from app.engines import compare_with_checkpoint, model_of
from app.settings import Settings, load
from models.encoder.bundle import open_bundle
from models.encoder.onnx_engine import load_model
from models.importing.selftest_data import SEED, Expected, file_name, image, kept_rows, write_expected
from models.shared.bundle_files import write_sums
from models.shared.runtimes.graph import Runtime
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.shared.runtimes.openvino_cpu import OpenVinoRuntime
from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode
from tests.support.bundles import write_bundle
from tests.unit.models.test_selftest import Distorting


class Counting(OpenVinoRuntime):
    """OpenVINO that counts how often a graph was opened."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.opened: list[str] = []

    def open(self, path: Path):  # type: ignore[no-untyped-def]  # the type is the parent's
        """Count and open."""
        self.opened.append(path.name)
        return super().open(path)


def settings_of(folder: Path, engine: str) -> Settings:
    settings = load(None)
    return replace(
        settings,
        node=replace(settings.node, state_dir=folder),
        encode=replace(settings.encode, engine=engine, threads=1),
    )


def serve_with(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.engines, "open_engine", lambda name, settings: runtime)


def test_the_command_compares_and_says_what_it_could_not_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERVAL_NODE__STATE_DIR", str(tmp_path / "state"))
    assert main(["selftest", "--out", str(tmp_path / "out")]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    result = json.loads(last.removeprefix("INTERVAL_RESULT "))
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["command"], result["ok"]) == ("selftest", True)
    statuses = {row["engine"]: row["status"] for row in result["metrics"]}
    assert statuses["openvino"] == "pass"
    assert statuses["tensorrt"] in {"skip", "pass"}


def test_an_engine_that_agrees_serves_and_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Counting(), Counting()
    settings = settings_of(tmp_path, "openvino")
    serve_with(first, monkeypatch)
    model = model_of(settings)
    assert first.opened
    serve_with(second, monkeypatch)
    model_of(settings)
    assert second.opened == []
    side = model.info.families[0].input_side_px
    assert model.family("2D-CXR").encode(np.zeros((1, side, side), dtype=np.float32)).shape[0] == 1


def test_an_engine_that_was_named_and_disagrees_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Distorting(transposed=True)
    wrong.name = "openvino"
    serve_with(wrong, monkeypatch)
    for _ in range(2):  # also when the answer is remembered
        with pytest.raises(ConfigError, match=r"encode\.engine openvino") as caught:
            model_of(settings_of(tmp_path, "openvino"))
        assert caught.value.code is ReasonCode.ENGINE_DISAGREES


def test_the_reference_serves_in_place_of_an_engine_nobody_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Distorting(transposed=True)
    wrong.name = "tensorrt"
    serve_with(wrong, monkeypatch)
    with caplog.at_level(logging.INFO):
        model_of(settings_of(tmp_path, "auto"))
    (opened,) = (record for record in caplog.records if record.message == "bundle.opened")
    assert vars(opened)["engine"] == "onnxruntime"
    assert "engine.refused" in [record.message for record in caplog.records]


def test_an_engine_this_machine_lacks_is_a_missing_prerequisite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERVAL_NODE__STATE_DIR", str(tmp_path))
    monkeypatch.setattr("models.shared.runtimes.tensorrt_gpu.probe.DRIVER_LIBRARY", "libnone.so")
    assert main(["selftest", "--engine", "tensorrt", "--out", str(tmp_path)]) == 3
    assert "no NVIDIA driver was found" in capsys.readouterr().err


def kept_answers(folder: Path, *, off_by: float = 0.0) -> Path:
    """A bundle that keeps answers, as an imported one does; `off_by` moves one of them."""
    write_bundle(folder)
    encoder = load_model(folder, intra_op_threads=1).family("2D-CXR")
    tokens = encoder.encode(image(encoder.info, SEED))
    rows = kept_rows(encoder.info.token_count)
    readings = encoder.read(tokens, [12, 35])
    embeddings = readings.embeddings[0].copy()
    embeddings[0, 0] += off_by
    expected = Expected(
        seed=SEED,
        token_rows=rows,
        tokens_sample=tokens[0, rows],
        entity_rows=np.array([12, 35]),
        embeddings=embeddings,
        latents=readings.latents[0],
        logits=np.zeros(2, dtype=np.float32),
        rerank_logits=None,
    )
    write_expected(folder / file_name("2d-cxr"), expected)
    write_sums(folder)
    return folder


@pytest.mark.parametrize(("off_by", "passes"), [(0.0, True), (0.01, False)])
def test_the_reference_is_held_to_what_the_import_kept_of_the_checkpoint(
    off_by: float, passes: bool, tmp_path: Path
) -> None:
    bundle = open_bundle(kept_answers(tmp_path, off_by=off_by))
    rows = {row.agreement.quantity: row.agreement for row in compare_with_checkpoint(bundle, OnnxRuntime(threads=1))}
    assert set(rows) == {"tokens_from_checkpoint", "embeddings_from_checkpoint", "latents_from_checkpoint"}
    assert rows["embeddings_from_checkpoint"].ok is passes
    assert rows["tokens_from_checkpoint"].ok


def test_a_bundle_that_keeps_no_answers_is_not_held_to_any(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path))
    assert list(compare_with_checkpoint(bundle, OnnxRuntime(threads=1))) == []
