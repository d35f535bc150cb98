"""One figure of a benchmark, and the line that ends every run."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure, what it is compared with in the same run, and their ratio (value / baseline_value)."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float


def write_result(command: str, metrics: Sequence[Metric], out: Path, *, ok: bool) -> str:
    """Write $OUT/result.json; return the line for standard output."""
    out.mkdir(parents=True, exist_ok=True)
    result = {
        "schema": 1,
        "command": command,
        "ok": ok,
        "metrics": [asdict(metric) for metric in metrics],
        "artifacts": {"result": "result.json"},
    }
    text = json.dumps(result)
    (out / "result.json").write_text(text + "\n", encoding="utf-8")
    return f"INTERVAL_RESULT {text}"
