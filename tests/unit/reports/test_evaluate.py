"""Figures of report decomposition, on reports that were made up for this test."""

import csv
import math
from pathlib import Path

import pytest

from models.encoder.figures import Figure
from models.reports.evaluate import (
    ContextCase,
    TaggedReport,
    context_figures,
    is_held_out,
    read_context_cases,
    read_openi,
    report_figures,
)
from models.reports.mesh_tags import Tag, tags_of_mesh, tags_of_statements
from models.reports.parser import parse_report
from models.reports.statements import Presence, Side

_PAIRS = (
    ("Cardiomegaly. No effusion.", "Cardiomegaly/mild"),
    ("Left base atelectasis.", "Pulmonary Atelectasis/base/left"),
    ("Lungs are clear. No pneumothorax.", "normal"),
    ("Right pleural effusion.", "Pleural Effusion/right;Catheters, Indwelling/right"),
)


def by_metric(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.metric: figure for figure in figures if figure.entity == "all"}


def reports(pairs: tuple[tuple[str, str], ...]) -> list[TaggedReport]:
    return [TaggedReport(uid=str(number), text=text, mesh=mesh) for number, (text, mesh) in enumerate(pairs)]


def test_reports_that_say_what_their_tags_say_score_one() -> None:
    figures = by_metric(report_figures(reports(_PAIRS), resamples=50))
    for metric in ("set_f1_finding", "set_f1", "set_f1_side", "set_precision", "set_recall"):
        assert figures[metric].value == 1.0
    assert figures["set_f1_all_tags"].value == pytest.approx(6 / 7)
    assert figures["tags_in_vocabulary"].value == pytest.approx(3 / 4)
    assert figures["set_f1"].n_images == 4
    assert figures["set_f1"].task == "reports"


def test_the_baseline_ignores_negation_and_chance_takes_the_neighbours_findings() -> None:
    figure = by_metric(report_figures(reports(_PAIRS), resamples=50))["set_f1"]
    assert figure.baseline == "words without context"
    assert figure.baseline_value == pytest.approx(6 / 8)  # two negated findings are taken for stated
    assert figure.chance == 0.0


def test_a_missed_place_counts_against_the_depth_that_asks_for_it() -> None:
    figures = by_metric(report_figures(reports((("Left base scarring.", "Cicatrix/lung/base/right"),)), resamples=50))
    assert figures["set_f1"].value == 1.0
    assert figures["set_f1_side"].value == 0.0


def test_the_interval_holds_the_figure_and_widens_with_disagreement() -> None:
    mixed = (*_PAIRS, ("Clear lungs.", "Cardiomegaly"), ("Small effusion.", "normal"))
    figure = by_metric(report_figures(reports(mixed), resamples=200))["set_f1"]
    assert figure.lo < figure.value < figure.hi


def test_only_common_findings_have_figures_of_their_own() -> None:
    common = tuple([("Cardiomegaly.", "Cardiomegaly")] * 19 + [("Clear lungs.", "Cardiomegaly"), _PAIRS[1]])
    figures = {figure.entity: figure for figure in report_figures(reports(common), resamples=20)}
    assert set(figures) == {"all", "cardiomegaly", "macro"}
    assert figures["macro"].value == figures["cardiomegaly"].value == pytest.approx(38 / 39)


def test_no_reports_give_no_figures_but_nan() -> None:
    assert all(math.isnan(figure.value) for figure in report_figures([], resamples=5))


def test_context_is_judged_apart_by_kind() -> None:
    cases = [
        ContextCase(sentence="No effusion.", finding="pleural effusion", presence="absent", change="none", side=""),
        ContextCase(sentence="Cardiomegaly.", finding="cardiomegaly", presence="absent", change="none", side=""),
        ContextCase(sentence="Worse edema.", finding="pulmonary edema", presence="present", change="worse", side=""),
    ]
    figures = by_metric(context_figures(cases, resamples=50))
    assert figures["negation_accuracy"].value == 0.5
    assert figures["change_accuracy"].value == 1.0
    assert math.isnan(figures["uncertainty_accuracy"].value)


def test_the_shipped_sentences_cover_each_kind() -> None:
    figures = by_metric(context_figures(read_context_cases(), resamples=20))
    assert all(figure.n_images >= 3 for figure in figures.values())


@pytest.mark.parametrize(
    ("mesh", "known", "outside"),
    [
        ("normal", set(), 0),
        ("Opacity/lung/base/left/streaky", {Tag(concept="opacity", part="base", side=Side.LEFT)}, 0),
        ("Calcinosis/lung/hilum/lymph nodes", {Tag(concept="lymph node calcification", part="hilum", side=None)}, 0),
        ("Surgical Instruments/left;Aorta/tortuous", {Tag(concept="aortic tortuosity", part="", side=None)}, 1),
        ("Fractures, Bone/clavicle", set(), 1),
    ],
)
def test_tags_become_concepts_with_place(mesh: str, known: set[Tag], outside: int) -> None:
    tags = tags_of_mesh(mesh)
    assert tags.known == known
    assert tags.outside == outside


def test_a_mention_without_place_yields_to_one_with_place() -> None:
    statements = parse_report("Left base atelectasis. Atelectasis.")
    found = tags_of_statements(statements, {Presence.PRESENT})
    assert found == {Tag(concept="atelectasis", part="base", side=Side.LEFT)}


def test_reports_without_text_or_indexing_are_left_out(tmp_path: Path) -> None:
    with (tmp_path / "indiana_reports.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["uid", "MeSH", "findings", "impression"])
        writer.writerows([["1", "normal", "Clear.", ""], ["2", "normal", "", " "], ["3", "No Indexing", "Clear.", ""]])
    assert [report.uid for report in read_openi(tmp_path)] == ["1"]


def test_the_halves_are_fixed_and_about_equal() -> None:
    held_out = [uid for uid in map(str, range(1000)) if is_held_out(uid)]
    assert 450 < len(held_out) < 550
    assert [uid for uid in held_out if int(uid) < 10] == ["0", "1", "2", "5", "6", "7", "8", "9"]
