"""A data folder enters; its films leave, with what the label map says of each entity on them.

The folder holds `metadata.csv`, one row per image, and the images it names.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

LABEL_MAP_PATH: Final = Path(__file__).with_name("label_map.json")
METADATA_CSV: Final = "metadata.csv"
DUPLICATES_CSV: Final = "annotations/near_duplicates.csv"
LABELLED_DATASETS: Final = frozenset({"nih14", "nih14_small"})  # the sources that `label_map.json` speaks of
SMALLEST_ORIGINAL_PX: Final = 256  # smaller films were reduced too far to be read as films
OPEN_CLASSES: Final = frozenset({"open", "open_verify"})
_NEEDED_COLUMNS: Final = frozenset(
    {"image", "dataset", "patient_id", "view", "findings", "licence", "licence_class", "orig_width", "sha256"}
)


class DataErrorCode(StrEnum):
    """Why a data folder cannot be used."""

    NO_METADATA = "no-metadata"
    MISSING_COLUMN = "missing-column"
    NO_FILMS = "no-films"
    NO_WEIGHTS = "no-weights"
    TOO_FEW_LABELS = "too-few-labels"


class DataError(Exception):
    """The data folder cannot be used. `code` says why, `subject` names the file, column or entity."""

    def __init__(self, code: DataErrorCode, subject: str) -> None:
        self.code = code
        self.subject = subject
        super().__init__(f"data refused ({code.value}): {subject}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One film of a labelled set. `patient` is the source's pseudonym; `image` is the path within the data folder."""

    image: str
    dataset: str
    patient: str
    view: str
    findings: frozenset[str]
    licence: str
    attribution: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """Entity `index` is present on a film that carries any of `labels`; `match` says how well the two agree."""

    index: int
    labels: frozenset[str]
    match: str
    note: str


@cache
def load_label_map(path: Path = LABEL_MAP_PATH) -> tuple[LabelRule, ...]:
    """Read the table from the source's labels to entities of the vocabulary."""
    rows = json.loads(path.read_text(encoding="utf-8"))["entities"]
    return tuple(
        LabelRule(index=row["index"], labels=frozenset(row["labels"]), match=row["match"], note=row["note"])
        for row in rows
    )


def read_films(data: Path) -> tuple[Film, ...]:
    """Films of labelled, open sources that are large enough, in the order of `metadata.csv`. Raises DataError."""
    films = tuple(_as_film(row) for row in _read_rows(data / METADATA_CSV) if _is_usable(row))
    if not films:
        raise DataError(DataErrorCode.NO_FILMS, METADATA_CSV)
    return films


def read_duplicate_patients(data: Path) -> list[tuple[str, str]]:
    """Pairs of patients of whom near-identical images are known; empty without the file."""
    path = data / DUPLICATES_CSV
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["patient_a"], row["patient_b"]) for row in csv.DictReader(file)]


def truth_table(films: Iterable[Film], rules: Iterable[LabelRule]) -> NDArray[np.bool_]:
    """(films, rules) bool: whether the rule's entity is present on the film."""
    rules = tuple(rules)
    rows = [[bool(film.findings & rule.labels) for rule in rules] for film in films]
    return np.array(rows, dtype=np.bool_).reshape(-1, len(rules))


def _read_rows(path: Path) -> Iterator[Mapping[str, str]]:
    if not path.is_file():
        raise DataError(DataErrorCode.NO_METADATA, path.name)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if missing := sorted(_NEEDED_COLUMNS - set(reader.fieldnames or ())):
            raise DataError(DataErrorCode.MISSING_COLUMN, missing[0])
        yield from reader


def _is_usable(row: Mapping[str, str]) -> bool:
    return (
        row["dataset"] in LABELLED_DATASETS
        and row["licence_class"] in OPEN_CLASSES
        and row["orig_width"].isdigit()
        and int(row["orig_width"]) >= SMALLEST_ORIGINAL_PX
    )


def _as_film(row: Mapping[str, str]) -> Film:
    return Film(
        image=row["image"],
        dataset=row["dataset"],
        patient=row["patient_id"],
        view=row["view"],
        findings=frozenset(row["findings"].split("|")),
        licence=row["licence"],
        attribution=row.get("attribution", ""),
        url=row.get("url", ""),
        sha256=row["sha256"],
    )
