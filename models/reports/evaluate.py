"""Reports with MeSH tags, and sentences with known context, enter; figures with 95 % intervals leave.

Every figure resamples reports (or sentences). `chance` gives each report the findings of another one; the baseline
takes every finding that is named for stated, without looking at negation.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.encoder.figures import MIN_POSITIVES, Figure, macro_figure
from models.reports.mesh_tags import NOT_INDEXED, Tag, tags_of_mesh, tags_of_statements
from models.reports.parser import parse_report
from models.reports.statements import Presence, Statement
from models.shared.metrics import Interval, bootstrap_by_patient

TASK: Final = "reports"
SENTENCES_PATH: Final = Path(__file__).with_name("context_sentences.csv")
_BASELINE: Final = "words without context"
_STATED: Final = frozenset({Presence.PRESENT, Presence.UNCERTAIN})
_CERTAIN: Final = frozenset({Presence.PRESENT})
_NAMED: Final = frozenset(Presence)

FloatArray = NDArray[np.float64]
_Key = tuple[str, ...]
_Reduce = Callable[[Tag], _Key]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedReport:
    """One report and the tags that readers gave it."""

    uid: str
    text: str
    mesh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextCase:
    """What one sentence says of one finding; an empty `presence`: the sentence does not state the finding."""

    sentence: str
    finding: str
    presence: str
    change: str
    side: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """One report as sets: `truth`, and what is stated, certain or merely named in it; `outside` tags no set holds."""

    uid: str
    truth: frozenset[Tag]
    outside: int
    stated: frozenset[Tag]
    certain: frozenset[Tag]
    named: frozenset[Tag]


def read_openi(folder: Path) -> tuple[TaggedReport, ...]:
    """Read `indiana_reports.csv` of `folder`; reports without text or without indexing are left out."""
    reports = []
    with (folder / "indiana_reports.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["findings"] + row["impression"]).strip() and row["MeSH"].strip() != NOT_INDEXED:
                text = f"FINDINGS: {row['findings']}\nIMPRESSION: {row['impression']}"
                reports.append(TaggedReport(uid=row["uid"], text=text, mesh=row["MeSH"]))
    return tuple(reports)


def is_held_out(uid: str) -> bool:
    """Whether a report is of the half that the lexicon was never checked on: the last bit of its id's SHA-256."""
    return hashlib.sha256(uid.encode()).digest()[-1] & 1 == 1


def read_context_cases(path: Path = SENTENCES_PATH) -> tuple[ContextCase, ...]:
    """Read the sentences that were written for this purpose."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(ContextCase(**row) for row in csv.DictReader(file))


def report_figures(reports: Sequence[TaggedReport], *, resamples: int = 1000) -> list[Figure]:
    """Set-F1 at three depths of place, its parts, what stays outside the vocabulary, and F1 of each common finding."""
    scored = [_scored(report) for report in reports]
    depths: tuple[tuple[str, _Reduce], ...] = (
        ("set_f1_finding", _finding),
        ("set_f1", _finding_and_part),
        ("set_f1_side", _finding_part_and_side),
    )
    figures = [_set_figure(scored, name, reduce, _f1, resamples) for name, reduce in depths]
    figures += [
        _set_figure(scored, "set_precision", _finding_and_part, _precision, resamples),
        _set_figure(scored, "set_recall", _finding_and_part, _recall, resamples),
        _set_figure([_only_certain(one) for one in scored], "set_f1_certain", _finding_and_part, _f1, resamples),
        _set_figure(scored, "set_f1_all_tags", _finding_and_part, _f1, resamples, count_outside=True),
        _vocabulary_figure(scored, resamples),
    ]
    each = list(_finding_figures(scored, resamples))
    return [*figures, *each, macro_figure(each, task=TASK, metric="f1")]


def context_figures(cases: Sequence[ContextCase], *, resamples: int = 1000) -> list[Figure]:
    """Share of findings in the sentences whose presence, change and side are read right, by kind."""
    read = [_statements_of(case) for case in cases]
    kinds: tuple[tuple[str, Callable[[ContextCase], bool], Callable[[ContextCase, Sequence[Statement]], bool]], ...] = (
        ("negation_accuracy", lambda case: case.presence == "absent", _presence_is_right),
        ("uncertainty_accuracy", lambda case: case.presence == "uncertain", _presence_is_right),
        ("affirmation_accuracy", lambda case: case.presence == "present", _presence_is_right),
        ("unstated_accuracy", lambda case: not case.presence, _presence_is_right),
        ("change_accuracy", lambda case: case.change not in {"", "none"}, _change_is_right),
        ("side_accuracy", lambda case: bool(case.side), _side_is_right),
    )
    return [
        _share_figure(
            metric,
            [(case.sentence, is_right(case, said)) for case, said in zip(cases, read, strict=True) if is_meant(case)],
            resamples,
        )
        for metric, is_meant, is_right in kinds
    ]


def _scored(report: TaggedReport) -> _Scored:
    statements = parse_report(report.text)
    tags = tags_of_mesh(report.mesh)
    return _Scored(
        uid=report.uid,
        truth=tags.known,
        outside=tags.outside,
        stated=tags_of_statements(statements, _STATED),
        certain=tags_of_statements(statements, _CERTAIN),
        named=tags_of_statements(statements, _NAMED),
    )


def _only_certain(one: _Scored) -> _Scored:
    return _Scored(
        uid=one.uid, truth=one.truth, outside=one.outside, stated=one.certain, certain=one.certain, named=one.named
    )


def _finding(tag: Tag) -> _Key:
    return (tag.concept,)


def _finding_and_part(tag: Tag) -> _Key:
    return (tag.concept, tag.part)


def _finding_part_and_side(tag: Tag) -> _Key:
    return (tag.concept, tag.part, tag.side.value if tag.side else "")


def _counts(pairs: Sequence[tuple[frozenset[Tag], frozenset[Tag]]], reduce: _Reduce) -> FloatArray:
    """Give (reports, 3): found rightly, found wrongly, missed."""
    rows = []
    for truth, found in pairs:
        true_keys, found_keys = {reduce(tag) for tag in truth}, {reduce(tag) for tag in found}
        rows.append((len(true_keys & found_keys), len(found_keys - true_keys), len(true_keys - found_keys)))
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _set_figure(
    scored: Sequence[_Scored],
    metric: str,
    reduce: _Reduce,
    figure: Callable[[FloatArray], float],
    resamples: int,
    *,
    count_outside: bool = False,
) -> Figure:
    outside = np.array([one.outside if count_outside else 0 for one in scored], dtype=np.float64)

    def counted(found: Sequence[frozenset[Tag]]) -> FloatArray:
        counts = _counts(list(zip((one.truth for one in scored), found, strict=True)), reduce)
        counts[:, 2] += outside
        return counts

    stated = [one.stated for one in scored]
    counts = counted(stated)
    interval = bootstrap_by_patient(
        lambda rows: figure(counts[rows].sum(axis=0)), [one.uid for one in scored], resamples=resamples
    )
    return _figure(
        ("all", metric),
        interval,
        chance=figure(counted(stated[1:] + stated[:1]).sum(axis=0)),
        baseline=(_BASELINE, figure(counted([one.named for one in scored]).sum(axis=0))),
        count=len(scored),
    )


def _finding_figures(scored: Sequence[_Scored], resamples: int) -> Iterator[Figure]:
    """F1 of each finding that at least MIN_POSITIVES reports carry, wherever it lies."""
    concepts = sorted({tag.concept for one in scored for tag in one.truth})
    for concept in concepts:
        truth = np.array([any(tag.concept == concept for tag in one.truth) for one in scored])
        if truth.sum() < MIN_POSITIVES:
            continue
        found = np.array([any(tag.concept == concept for tag in one.stated) for one in scored])
        named = np.array([any(tag.concept == concept for tag in one.named) for one in scored])
        counts = _binary_counts(truth, found)
        interval = bootstrap_by_patient(
            lambda rows, counts=counts: _f1(counts[rows].sum(axis=0)),  # type: ignore[misc]
            [one.uid for one in scored],
            resamples=resamples,
        )
        yield _figure(
            (concept, "f1"),
            interval,
            chance=_f1(_binary_counts(truth, np.roll(found, 1)).sum(axis=0)),
            baseline=(_BASELINE, _f1(_binary_counts(truth, named).sum(axis=0))),
            count=len(scored),
        )


def _binary_counts(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> FloatArray:
    return np.stack([truth & found, ~truth & found, truth & ~found], axis=1).astype(np.float64)


def _vocabulary_figure(scored: Sequence[_Scored], resamples: int) -> Figure:
    inside = np.array([len(one.truth) for one in scored], dtype=np.float64)
    outside = np.array([one.outside for one in scored], dtype=np.float64)
    interval = bootstrap_by_patient(
        lambda rows: _ratio(inside[rows].sum(), (inside[rows] + outside[rows]).sum()),
        [one.uid for one in scored],
        resamples=resamples,
    )
    nothing = float("nan")
    return _figure(("all", "tags_in_vocabulary"), interval, chance=nothing, baseline=("", nothing), count=len(scored))


def _share_figure(metric: str, answers: Sequence[tuple[str, bool]], resamples: int) -> Figure:
    values = np.array([right for _, right in answers], dtype=np.float64)
    interval = bootstrap_by_patient(
        lambda rows: _ratio(values[rows].sum(), len(rows)), [sentence for sentence, _ in answers], resamples=resamples
    )
    nothing = float("nan")
    return _figure(("all", metric), interval, chance=nothing, baseline=("", nothing), count=len(answers))


def _statements_of(case: ContextCase) -> tuple[Statement, ...]:
    return tuple(one for one in parse_report(case.sentence) if one.finding == case.finding)


def _presence_is_right(case: ContextCase, said: Sequence[Statement]) -> bool:
    if not case.presence:
        return not said
    sided = [one for one in said if not case.side or (one.side and one.side.value == case.side)]
    return bool(sided) and all(one.presence.value == case.presence for one in sided)


def _change_is_right(case: ContextCase, said: Sequence[Statement]) -> bool:
    return any(
        one.change.value == case.change and (not case.side or (one.side and one.side.value == case.side))
        for one in said
    )


def _side_is_right(case: ContextCase, said: Sequence[Statement]) -> bool:
    return any(one.side is not None and one.side.value == case.side for one in said)


def _figure(
    name: tuple[str, str], interval: Interval, *, chance: float, baseline: tuple[str, float], count: int
) -> Figure:
    return Figure(
        task=TASK,
        entity=name[0],
        metric=name[1],
        value=interval.value,
        lo=interval.lo,
        hi=interval.hi,
        chance=chance,
        baseline=baseline[0],
        baseline_value=baseline[1],
        n_patients=count,
        n_images=count,
    )


def _f1(counts: FloatArray) -> float:
    right, wrong, missed = counts
    return _ratio(2 * right, 2 * right + wrong + missed)


def _precision(counts: FloatArray) -> float:
    return _ratio(counts[0], counts[0] + counts[1])


def _recall(counts: FloatArray) -> float:
    return _ratio(counts[0], counts[0] + counts[2])


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
