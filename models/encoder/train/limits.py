"""Name and version of a bundle enter; the limits that were measured of it after its training leave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

LIMITS_PATH: Final = Path(__file__).with_name("limits.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLimit:
    """One limit as a model card tells it: `text` is Markdown without line breaks, `command` what repeats it, if any."""

    text: str
    measured_on: date
    command: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLimits:
    """Limits and the weights they were measured on: SHA-256 of the bundle's fusion graph."""

    fusion_sha256: str
    limits: tuple[MeasuredLimit, ...]


def measured_limits(name: str, version: str, path: Path = LIMITS_PATH) -> MeasuredLimits | None:
    """Return what was measured of a version of a bundle; None when nothing was."""
    for bundle in json.loads(path.read_text(encoding="utf-8"))["bundles"]:
        if (bundle["name"], bundle["version"]) == (name, version):
            return MeasuredLimits(
                fusion_sha256=bundle["fusion_sha256"],
                limits=tuple(
                    MeasuredLimit(
                        text=limit["text"],
                        measured_on=date.fromisoformat(limit["measured_on"]),
                        command=limit["command"],
                    )
                    for limit in bundle["limits"]
                ),
            )
    return None
