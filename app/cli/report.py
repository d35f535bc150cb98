"""`report parse`: what a report's text says, as JSON lines. Nothing of the text is logged or kept."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from models.reports.lexicon import MODALITY_COLUMNS
from models.reports.parser import parse_report
from models.reports.statements import Statement

_LARGEST_BYTES = 1 << 18  # far beyond any report; a wrong file is told from a long one


def add_to(commands: Any) -> None:
    """Add the family to the command line."""
    family = commands.add_parser("report", help="read reports")
    verbs = family.add_subparsers(required=True, metavar="VERB")
    parse = verbs.add_parser(
        "parse", help="findings, places, presence and change out of a report's text, as JSON lines"
    )
    parse.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="text in UTF-8; - or nothing: standard input"
    )
    parse.add_argument("--modality", choices=tuple(MODALITY_COLUMNS), default="2D-CXR", help="whose entities are meant")
    parse.set_defaults(run=_parse)


def _parse(chosen: argparse.Namespace) -> int:
    try:
        raw = _read(chosen.file)
    except OSError as exc:
        return _refuse(f"The file cannot be read: {exc.strerror}.", code=2)
    if len(raw) > _LARGEST_BYTES:
        return _refuse(f"The input is larger than {_LARGEST_BYTES} bytes: that is no report.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        return _refuse(f"The input is not UTF-8 text: byte {exc.start} cannot be read.")
    if not text.strip():
        return _refuse("The input is empty.")
    for statement in parse_report(text, modality=chosen.modality):
        print(json.dumps(as_row(statement), ensure_ascii=False))
    return 0


def as_row(statement: Statement) -> dict[str, object]:
    """Values of a statement by name, as the command prints them."""
    return {
        "entity": statement.entity,
        "entity_index": statement.entity_index,
        "finding": statement.finding,
        "site": statement.site,
        "side": statement.side,
        "zones": list(statement.zones),
        "presence": statement.presence,
        "change": statement.change,
        "severity": statement.severity,
        "span": [statement.span.start, statement.span.end],
        "section": statement.section,
        "sentence": statement.sentence,
    }


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(_LARGEST_BYTES + 1)
    with Path(name).open("rb") as file:
        return file.read(_LARGEST_BYTES + 1)


def _refuse(sentence: str, *, code: int = 4) -> int:
    print(f"interval: {sentence}", file=sys.stderr)
    return code
