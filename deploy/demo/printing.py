"""The outcome as text for people: an Outcome in, lines out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from deploy.demo.films import ATTRIBUTION
from deploy.demo.outcome import Outcome

_STATES = ("new", "worse", "resolved", "better", "stable", "undetermined", "absent")


def lines(outcome: Outcome) -> Iterator[str]:
    """Yield the lines: PACS, RIS, comparison, sentences, files, page."""
    yield from _section("In the PACS, in the study of the follow-up", _in_pacs(outcome))
    yield from _section("At the RIS", _at_ris(outcome))
    comparison = outcome.detail.get("comparison")
    if comparison:
        yield from _section(_title(comparison), _findings(comparison))
        sentences = [sentence["text"] for sentence in comparison["sentences"]]
        yield from _section("What the draft says (a draft by a computer, not verified by a physician)", sentences)
    yield from _section("Similar cases of other patients, on the page only", [_similar(outcome.detail)])
    yield from _section("Saved", _saved(outcome))
    yield from _section("Films", [ATTRIBUTION])
    if outcome.faults:
        yield from _section("What is wrong", outcome.faults)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines, columns as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    ruled = [header, ["-" * width for width in widths], *rows]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in ruled]


def _section(title: str, content: Iterable[str]) -> Iterator[str]:
    yield ""
    yield title
    for line in content:
        yield f"  {line}"


def _in_pacs(outcome: Outcome) -> list[str]:
    header = ("series", "modality", "SOP class", "series description", "size")
    rows = [
        (row.series_number, row.modality, row.sop_class, row.description, f"{row.size_bytes / 1000:.0f} kB")
        for row in outcome.in_pacs
    ]
    return [f"Study Instance UID {outcome.study_uid}", *table(header, rows)]


def _at_ris(outcome: Outcome) -> list[str]:
    if not outcome.at_ris:
        return ["nothing"]
    return [
        f"ORU^R01 {told.control_id}: answered with {told.answer}, result status {told.result_status}"
        + (" (stored, not verified)" if told.result_status == "R" else "")
        for told in outcome.at_ris
    ]


def _title(comparison: dict[str, Any]) -> str:
    current, prior = comparison["current"], comparison["prior"]
    if prior is None:
        return f"The comparison: study of {_day(current)}, without a prior"
    return f"The comparison: study of {_day(current)} with the prior of {_day(prior)}"


def _day(study: dict[str, Any]) -> str:
    text = study["study_date"]
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"


def _findings(comparison: dict[str, Any]) -> list[str]:
    found = sorted(comparison["findings"], key=lambda finding: _STATES.index(finding["state"]))
    header = ("entity", "prior", "current", "change", "probability of the change")
    rows = [
        (
            finding["entity"]["name"],
            _presence(finding["prior"], finding["prior_prob"]),
            _presence(finding["current"], finding["current_prob"]),
            finding["state"],
            "-" if finding["state"] == "undetermined" else f"{finding['confidence']:.2f}",
        )
        for finding in found
    ]
    return table(header, rows)


def _presence(presence: str | None, prob: float | None) -> str:
    if presence is None:
        return "-"
    return presence if prob is None else f"{presence} {prob:.2f}"


def _similar(detail: dict[str, Any]) -> str:
    cases = detail["similar"]
    studies, entities = {case["study_uid"] for case in cases}, {case["entity_index"] for case in cases}
    return f"{len(studies)} studies, ranked for each of {len(entities)} entities"


def _saved(outcome: Outcome) -> list[str]:
    if outcome.saved is None:
        return ["nothing: the documents are not complete"]
    saved = outcome.saved
    found = [("structured report", saved.sr), ("readable PDF", saved.pdf), ("message to the RIS", saved.oru)]
    if saved.page is not None:
        found.insert(2, ("its first page", saved.page))
    return [f"{what:<19} {path}" for what, path in found]
