"""One figure of a benchmark, and the line that ends every run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure, and what it is compared with in the same run; a figure that stands alone has no baseline.

    `ratio` is value / baseline_value, but for seconds of the model the other way round: how many times faster.
    """

    name: str
    value: float
    unit: str
    baseline: str | None = None
    baseline_value: float | None = None
    ratio: float | None = None


class MissingPrerequisiteError(Exception):
    """A benchmark cannot run here; its text is the sentence that says what is missing."""


def speed_up(name: str, value_s: float, baseline: str, baseline_s: float) -> Metric:
    """Seconds beside the seconds of `baseline`, with how many times faster that is."""
    return Metric(
        name=name, value=value_s, unit="s", baseline=baseline, baseline_value=baseline_s, ratio=baseline_s / value_s
    )


def write_result(
    command: str, metrics: Sequence[Metric], out: Path, *, ok: bool, skipped: Mapping[str, str] | None = None
) -> str:
    """Write $OUT/result.json; return the line for standard output. `skipped` says why a benchmark gave no figure."""
    out.mkdir(parents=True, exist_ok=True)
    result = {
        "schema": 1,
        "command": command,
        "ok": ok,
        "metrics": [asdict(metric) for metric in metrics],
        "skipped": dict(skipped or {}),
        "artifacts": {"result": "result.json"},
    }
    text = json.dumps(result)
    (out / "result.json").write_text(text + "\n", encoding="utf-8")
    return f"INTERVAL_RESULT {text}"
