"""How the benchmarks are chosen, what is said where one cannot run, and what is handed to the two sides."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.encoder.bundle import open_bundle
from models.encoder.checks import check_images
from models.shared.bundle_files import write_sums
from tests.bench import __main__ as bench
from tests.bench import bundle, workload
from tests.bench.medreco import MedReco
from tests.bench.result import Metric, MissingPrerequisiteError, speed_up, write_result
from tests.bench.sides import Side
from tests.bench.turns import Took

FIGURE = Metric(name="a", value=1.0, unit="s")
CONTRACT = {"receive_ct", "overhead_s", "cxr_1", "cxr_75", "ct_56", "rerank_50"}


def _missing() -> list[Metric]:
    raise MissingPrerequisiteError("Missing: torch.")


def _rounds(*seconds: float) -> list[Took]:
    return [Took(wall_s=value, cpu_s=2 * value) for value in seconds]


def test_every_name_of_the_contract_is_a_benchmark() -> None:
    assert set(bench.benchmarks(Path())) >= CONTRACT


def test_a_benchmark_whose_prerequisite_is_missing_is_left_out_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics, skipped = bench.run({"a": lambda: [FIGURE], "b": _missing, "c": _missing}, ["a", "b", "c"])
    assert metrics == [FIGURE]
    assert skipped == {"b": "Missing: torch.", "c": "Missing: torch."}
    assert "Missing: torch. Without it: no b, c." in capsys.readouterr().err


def test_the_command_ends_with_3_and_says_so_in_the_result_where_torch_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle, "_TRAINING", tmp_path / "no-such-python")
    assert bench.main(["--only", "cxr_1", "--out", str(tmp_path)]) == 3
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["ok"] is False
    assert "torch" in result["skipped"]["cxr_1"]
    assert capsys.readouterr().out.splitlines()[-1].startswith("INTERVAL_RESULT ")


def test_a_figure_without_a_baseline_has_none_in_the_result(tmp_path: Path) -> None:
    write_result("bench", [FIGURE], tmp_path, ok=True)
    (row,) = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert (row["baseline"], row["baseline_value"], row["ratio"]) == (None, None, None)
    assert "None" not in bench.line(FIGURE)


def test_the_ratio_of_seconds_is_how_many_times_faster() -> None:
    assert speed_up("a", 0.5, "plain", 20.0).ratio == 40.0


def test_75_entities_are_compared_with_75_measured_passes_and_the_least_like_embedding_counts(tmp_path: Path) -> None:
    first = np.eye(75, 80, dtype=np.float32)
    second = first.copy()
    second[7] = np.roll(second[7], 1)
    model = MedReco(tmp_path)
    ours_took = {"one": _rounds(0.2), "all": _rounds(0.1, 0.25, 9.0)}
    ours = Side(took=ours_took, peak_mb=400.0, answers={"one": first[:1], "all": first})
    plain = Side(took={"one": _rounds(3.0)}, peak_mb=2500.0, answers={"one": second[:1], "all": second})
    model.__dict__["_film"] = (ours, plain)
    by_name = {metric.name: metric for metric in (*model.cxr_1(), *model.cxr_75())}
    assert by_name["cxr_75"].baseline_value == pytest.approx(225.0)
    assert by_name["cxr_75"].ratio == pytest.approx(900.0)
    assert by_name["cxr_1_cosine"].value == pytest.approx(1.0)
    assert by_name["cxr_75_cosine"].value == pytest.approx(0.0)
    assert by_name["cxr_1_peak_mb"].value == 400.0


def test_the_bundle_serves_every_entity_of_films_and_ct_at_the_published_sizes(tmp_path: Path) -> None:
    families = (workload.FILM, workload.CT)
    for family in families:
        for path in bundle.graph_paths(family).values():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    bundle.write_metadata(tmp_path, families)
    write_sums(tmp_path)
    info = open_bundle(tmp_path).info
    film, ct = (info.family(family) for family in families)
    assert (len(film.entities), film.input_shape, film.rerank_top_k) == (75, (480, 480), 128)
    assert (len(ct.entities), ct.input_shape, ct.pad_value) == (56, (240, 480, 480), -1)
    assert all(entity.measured is None for entity in (*film.entities, *ct.entities))


def test_the_film_is_what_the_engine_takes(tmp_path: Path) -> None:
    for path in bundle.graph_paths(workload.FILM).values():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    bundle.write_metadata(tmp_path, [workload.FILM])
    write_sums(tmp_path)
    check_images(workload.film(), open_bundle(tmp_path).info.family(workload.FILM))
