"""Two images enter; how their acquisition differs, as codes, and which findings that forbids to compare, leave.

The codes, their sentences and the findings they withhold a change from are data: cautions.csv. Every code but
order-uncertain is the same with current and prior exchanged, and order-uncertain too when the order cannot be told.
"""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from operators.domain.messages import Image, InstanceHeader, ReadScope, Study, study_date_of
from operators.domain.radiograph import BodyRegion, Projection, body_region_of, is_mirrored, projection_of

CAUTIONS_PATH = Path(__file__).with_name("cautions.csv")
_EVERY_ENTITY = "*"
_UNKNOWN = "unknown"
_NOT_FILMS = frozenset({"CT", "MR", "US"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One row of the table. `withholds` holds entity indices; None means every entity."""

    code: str
    sentence: str
    withholds: frozenset[int] | None

    def covers(self, entity_index: int) -> bool:
        """Whether no change of that entity is stated under this caution."""
        return self.withholds is None or entity_index in self.withholds


@cache
def load_cautions(path: Path = CAUTIONS_PATH) -> Mapping[str, Caution]:
    """Read the table: code to caution, the weightiest first."""
    with path.open(encoding="utf-8", newline="") as file:
        cautions = [
            Caution(
                code=row["code"],
                sentence=row["sentence"],
                withholds=None
                if row["withholds"] == _EVERY_ENTITY
                else frozenset(int(index) for index in row["withholds"].split()),
            )
            for row in csv.DictReader(file)
        ]
    return MappingProxyType({caution.code: caution for caution in cautions})


def withholding(cautions: Collection[str], entity_index: int) -> str | None:
    """Return the weightiest of the cautions that forbids a statement of change of that entity, if any does."""
    for code, caution in load_cautions().items():
        if code in cautions and caution.covers(entity_index):
            return code
    return None


def cautions_of_image(study: Study, image: Image) -> tuple[str, ...]:
    """Return what is doubtful about one image alone, in the order of the table."""
    return _in_order(_doubts(study, image))


def cautions_between(
    current: tuple[Study, Image],
    prior: tuple[Study, Image],
    *,
    long_interval_days: int,
    scopes: tuple[ReadScope, ReadScope] = (ReadScope(), ReadScope()),
) -> tuple[str, ...]:
    """Return how the two images differ in acquisition and what is doubtful about either, in the order of the table.

    `scopes` are what was read of the two studies: the kinds of their series.
    """
    now, before = current[1].header, prior[1].header
    differs = {
        "order-uncertain": not _is_earlier(prior[0], current[0]),
        "laterality-differs": _differs(_side(now), _side(before)),
        "processing-differs": _is_unprocessed(now) != _is_unprocessed(before),
        "freehand-plane": now.modality == before.modality == "US",
        **_series_differ(*scopes),
        "projection-differs": {projection_of(now), projection_of(before)} == {Projection.PA, Projection.AP},
        "modality-differs": _differs(now.modality, before.modality),
        "orientation-differs": is_mirrored(now) != is_mirrored(before),
        "interval-long": abs(interval_days(current[0], prior[0]) or 0) > long_interval_days,
    }
    return _in_order({code for code, is_so in differs.items() if is_so} | _doubts(*current) | _doubts(*prior))


def _series_differ(now: ReadScope, before: ReadScope) -> dict[str, bool]:
    return {
        "phase-differs": _known_differ(now.phase, before.phase),
        "kernel-differs": _known_differ(now.kernel, before.kernel),
        "weighting-differs": _known_differ(now.weighting, before.weighting),
        "plane-differs": _known_differ(now.plane, before.plane),
    }


def _known_differ(one: str, other: str) -> bool:
    return _UNKNOWN not in (one, other) and _differs(one, other)


def interval_days(current: Study, prior: Study) -> int | None:
    """Days from prior to current; None when a date is missing."""
    now, before = study_date_of(current.study_date), study_date_of(prior.study_date)
    return (now - before).days if now and before else None


def _doubts(study: Study, image: Image) -> set[str]:
    header = image.header
    if header.modality in _NOT_FILMS:
        return set()
    doubts = {
        "projection-unknown": projection_of(header) not in {Projection.PA, Projection.AP},
        "body-part-unknown": body_region_of(header, study.study_description) is BodyRegion.UNKNOWN,
        "unprocessed-image": _is_unprocessed(header),
    }
    return {code for code, is_so in doubts.items() if is_so}


def _in_order(codes: Collection[str]) -> tuple[str, ...]:
    return tuple(code for code in load_cautions() if code in codes)


def _is_earlier(prior: Study, current: Study) -> bool:
    """Whether the dates, and on one day the times, say that `prior` was taken before `current`."""
    now, before = study_date_of(current.study_date), study_date_of(prior.study_date)
    if now is None or before is None:
        return False
    if now != before:
        return before < now
    return _is_earlier_time(prior.study_time, current.study_time)


def _is_earlier_time(prior: str, current: str) -> bool:
    """Compare two DICOM TM values to the precision that both have (PS3.5 6.2)."""
    before, now = prior.replace(":", "").strip(), current.replace(":", "").strip()
    shared_chars = min(len(before), len(now))
    return before[:shared_chars] < now[:shared_chars]


def _differs(one: str, other: str) -> bool:
    """Whether both are stated and not alike."""
    return bool(one.strip() and other.strip()) and one.strip().upper() != other.strip().upper()


def _side(header: InstanceHeader) -> str:
    """Return the side an image shows: L, R, BOTH, or nothing where it is not said (PS3.3 C.8.11.3, C.7.3.1)."""
    stated = header.laterality.strip().upper()[:1]
    return {"L": "L", "R": "R", "U": "BOTH", "B": "BOTH"}.get(stated, "")


def _is_unprocessed(header: InstanceHeader) -> bool:
    return header.presentation_intent.strip().upper() == "FOR PROCESSING"
