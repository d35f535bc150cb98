"""Coded concepts as data: a name of `codes.csv` or an entity's row enters, the code triple leaves.

`codes.csv` keeps the full triple because pydicom's dictionaries lack some of the codes; `entity_codes.csv` says which
finding and which finding site each entity of the vocabulary is. Codes of scheme 99INTERVAL are our own: the part of
SNOMED CT that DICOM makes free to use (PS3.16 8.1 and CID tables) has no code for the concept, or only one that says
more, or less, than the entity's name; the column `source` says which.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydicom.sr.coding import Code as PydicomCode

CODES_PATH: Final = Path(__file__).with_name("codes.csv")
ENTITY_CODES_PATH: Final = Path(__file__).with_name("entity_codes.csv")
LOCAL_SCHEME: Final = "99INTERVAL"


class UnknownCodeError(LookupError):
    """No code has this name, or no codes are kept for this entity."""

    def __init__(self, key: str | int) -> None:
        self.key = key
        super().__init__(f"no codes for entity {key}" if isinstance(key, int) else f"no code is called {key!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One coded concept: `value`, `scheme` (designator) and `meaning` as DICOM writes them, and where it is defined.

    `name` is ours and never leaves the node. `version` is None where the scheme needs none.
    """

    name: str
    value: str
    scheme: str
    version: str | None
    meaning: str
    source: str

    @property
    def is_local(self) -> bool:
        """Whether the code is of our own scheme, which a document then has to identify (PS3.3 C.12.1.1.7)."""
        return self.scheme == LOCAL_SCHEME

    def for_dicom(self) -> PydicomCode:
        """Give the triple as pydicom and highdicom take it."""
        return PydicomCode(self.value, self.scheme, self.meaning, self.version)


@cache
def codes() -> Mapping[str, Code]:
    """All codes by name, read once."""
    with CODES_PATH.open(encoding="utf-8", newline="") as file:
        return MappingProxyType({row["name"]: _code(row) for row in csv.DictReader(file)})


def _code(row: Mapping[str, str]) -> Code:
    return Code(
        name=row["name"],
        value=row["value"],
        scheme=row["scheme"],
        version=row["version"] or None,
        meaning=row["meaning"],
        source=row["source"],
    )


def code(name: str) -> Code:
    """Code of this name. Raises UnknownCodeError."""
    try:
        return codes()[name]
    except KeyError as exc:
        raise UnknownCodeError(name) from exc


def change_code(state: str) -> Code:
    """Code of a change state: new, resolved, worse, better, stable, absent or undetermined. Raises UnknownCodeError."""
    return code(f"change_{state}")


def presence_code(presence: str) -> Code:
    """Code of a presence: present, absent or undetermined. Raises UnknownCodeError."""
    return code(f"presence_{presence}")


@cache
def _entity_codes() -> Mapping[int, tuple[str, str]]:
    with ENTITY_CODES_PATH.open(encoding="utf-8", newline="") as file:
        return MappingProxyType({int(row["index"]): (row["finding"], row["site"]) for row in csv.DictReader(file)})


def entity_code_names(index: int) -> tuple[str, str]:
    """Names of the finding code and of the finding site code of an entity, by its row. Raises UnknownCodeError."""
    try:
        return _entity_codes()[index]
    except KeyError as exc:
        raise UnknownCodeError(index) from exc
