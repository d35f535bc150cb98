"""How a command ends: figures and artifacts enter; the result line, `result.json` and tables leave."""

from __future__ import annotations

import csv
import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path

from models.encoder.figures import Figure

RESULT_SCHEMA = 1
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({})))


class ExitCode(IntEnum):
    """Exit codes of every command of the product."""

    PASSED = 0
    CRITERION_FAILED = 1
    USAGE = 2
    MISSING_PREREQUISITE = 3
    REFUSED_INPUT = 4


def write_result(out: Path, *, command: str, ok: bool, figures: Iterable[Figure], artifacts: Mapping[str, str]) -> str:
    """Write `result.json` with figures to `out` and return the line that ends the command's output."""
    metrics = [figure.as_row() for figure in figures]
    return write_rows(out, command=command, ok=ok, metrics=metrics, artifacts=artifacts)


def write_rows(
    out: Path, *, command: str, ok: bool, metrics: Sequence[Mapping[str, object]], artifacts: Mapping[str, str]
) -> str:
    """Write `result.json` to `out` and return the line that ends the command's output."""
    result = {
        "schema": RESULT_SCHEMA,
        "command": command,
        "ok": ok,
        "metrics": list(metrics),
        "artifacts": dict(artifacts),
    }
    text = json.dumps(result, ensure_ascii=False, allow_nan=False)
    (out / "result.json").write_text(text + "\n", encoding="utf-8")
    return f"INTERVAL_RESULT {text}"


def write_metrics_csv(path: Path, figures: Iterable[Figure]) -> None:
    """Write one row per figure, with a header."""
    rows = [figure.as_row() for figure in figures]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(Figure.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class ProgressFormatter(logging.Formatter):
    """One line per event: its name, then its facts as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format without a time stamp, for a person who watches."""
        facts = (f"{key}={value}" for key, value in vars(record).items() if key not in _STANDARD_FIELDS)
        return " ".join((record.getMessage(), *facts))


def log_progress() -> None:
    """Send events of the package to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ProgressFormatter())
    package = logging.getLogger("models")
    package.handlers = [handler]
    package.setLevel(logging.INFO)
