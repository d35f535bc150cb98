"""The commands behind `make train` and `make evaluate`: what they write and how they end."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.encoder.bundle import ENCODER_FILE, MANIFEST_FILE
from models.encoder.evaluate.__main__ import main as evaluate
from models.shared.bundle_files import write_sums
from tests.support.bundles import write_bundle
from tests.support.training import REPOSITORY, run_training_module

COLUMNS = ("image", "dataset", "patient_id", "view", "findings", "licence", "licence_class", "orig_width", "sha256")
LABELS = ("No Finding", "Effusion", "Atelectasis|Pneumonia", "Pneumonia")


def _data_folder(folder: Path, *, films: int = 24) -> Path:
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(1)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(films):
            name = f"images/{number}.png"
            Image.fromarray(generator.integers(0, 255, (90, 80), dtype=np.uint8)).save(folder / name)
            view, findings = ("AP", "PA")[number % 2], LABELS[number % 4]
            row = (name, "nih14", f"P{number // 2}", view, findings, "free", "open", "1024", f"{number:064}")
            writer.writerow(row)
    return folder


def _evaluate(data: Path, bundle: Path, out: Path) -> int:
    return evaluate(["--data", str(data), "--bundle", str(bundle), "--out", str(out)])


def _result(text: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(text.splitlines()[-1].removeprefix("INTERVAL_RESULT "))
    return result


def test_evaluate_ends_with_the_result_that_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = _evaluate(_data_folder(tmp_path / "data"), write_bundle(tmp_path / "bundle"), tmp_path / "out")
    result = _result(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["schema"], result["command"], result["ok"]) == (1, "evaluate", code == 0)
    assert {"presence", "retrieval"} == {metric["task"] for metric in result["metrics"]}
    with (tmp_path / "out" / "metrics.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(result["metrics"])
    assert "<table>" in (tmp_path / "out" / "report.html").read_text()


def test_films_of_patients_that_the_bundle_has_seen_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    by_hash = f"another-name.png,P-other,{5:064},train\n"
    (bundle / MANIFEST_FILE).write_text(f"image,patient,sha256,split\nx.png,P0,00,train\n{by_hash}")
    write_sums(bundle)
    _evaluate(_data_folder(tmp_path / "data"), bundle, tmp_path / "out")
    captured = capsys.readouterr()
    assert "3 films left out" in captured.err
    auroc = next(row for row in _result(captured.out)["metrics"] if row["metric"] == "auroc")
    assert auroc["n_images"] == 21


def test_evaluate_ends_with_3_where_no_film_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / MANIFEST_FILE).write_text("image,patient,sha256,split\nx.png,P0,00,train\n")
    write_sums(bundle)
    assert _evaluate(_data_folder(tmp_path / "data", films=2), bundle, tmp_path / "out") == 3
    assert "no film is left" in capsys.readouterr().err


def test_evaluate_ends_with_3_where_there_are_no_data(tmp_path: Path) -> None:
    assert _evaluate(tmp_path, write_bundle(tmp_path / "bundle"), tmp_path / "out") == 3


def test_evaluate_refuses_a_damaged_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / ENCODER_FILE).write_bytes(b"")
    assert _evaluate(_data_folder(tmp_path / "data", films=2), bundle, tmp_path / "out") == 4
    assert "hash-mismatch" in capsys.readouterr().err


def test_evaluate_refuses_a_film_that_is_no_image(tmp_path: Path) -> None:
    data = _data_folder(tmp_path / "data", films=2)
    (data / "images" / "0.png").write_bytes(b"no image")
    assert _evaluate(data, write_bundle(tmp_path / "bundle"), tmp_path / "out") == 4


def test_evaluate_without_arguments_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        evaluate([])
    assert ended.value.code == 2
    assert "--data" in capsys.readouterr().err


def test_train_names_the_weights_it_misses(tmp_path: Path) -> None:
    data = _data_folder(tmp_path / "data", films=2)
    done = run_training_module("models.encoder.train", "--data", str(data), "--out", str(tmp_path / "out"))
    assert done.returncode == 3, done.stderr
    assert "no-weights" in done.stderr


def test_training_runs_the_shared_code_in_the_versions_that_serve() -> None:
    def pins(name: str) -> dict[str, str]:
        lines = (REPOSITORY / name).read_text().splitlines()
        return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))

    serving, training = pins("requirements.txt"), pins("requirements-train.txt")
    shared = serving.keys() & training.keys()
    assert {"numpy", "pillow", "onnxruntime"} <= shared
    assert {name: training[name] for name in shared} == {name: serving[name] for name in shared}
