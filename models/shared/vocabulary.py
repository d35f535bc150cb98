"""The entity vocabulary: (modality, exact name) or a row index enters, an `Entity` leaves.

An entity id is the row of MedReCo's condition table, unique across modalities. The facts live in `conditions.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

CONDITIONS_PATH: Final = Path(__file__).with_name("conditions.json")


class EntityKind(StrEnum):
    """What sort of thing an entity names."""

    ANATOMY = "anatomy"
    ABNORMAL = "abnormal"
    DISEASE = "disease"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One row of the condition table. `anatomy` is None for diseases, which name no single structure."""

    index: int
    name: str
    kind: EntityKind
    modality: str
    anatomy: str | None
    in_benchmark: bool


class UnknownEntityError(LookupError):
    """No entity has this index, or this exact name in this modality."""

    def __init__(self, *, modality: str | None = None, key: str | int) -> None:
        self.modality = modality
        self.key = key
        place = f" of {modality}" if modality else ""
        super().__init__(f"no entity{place} is called {key!r}" if isinstance(key, str) else f"no entity{place} {key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """All entities, by row index and by (modality, exact name); `router_index` gives each modality's expert."""

    by_index: Mapping[int, Entity]
    by_name: Mapping[tuple[str, str], Entity]
    router_index: Mapping[str, int]
    table_rows: int

    def entity(self, index: int) -> Entity:
        """Entity at row `index` of the condition table. Raises UnknownEntityError."""
        try:
            return self.by_index[index]
        except KeyError:
            raise UnknownEntityError(key=index) from None

    def named(self, modality: str, name: str) -> Entity:
        """Entity of `modality` with exactly this `name`. Raises UnknownEntityError."""
        try:
            return self.by_name[modality, name]
        except KeyError:
            raise UnknownEntityError(modality=modality, key=name) from None

    def of_modality(self, modality: str) -> tuple[Entity, ...]:
        """All entities of `modality` in row order. Raises UnknownEntityError for an unknown modality."""
        if modality not in self.router_index:
            raise UnknownEntityError(modality=modality, key=modality)
        return tuple(entity for entity in self.by_index.values() if entity.modality == modality)


@cache
def load_vocabulary(path: Path = CONDITIONS_PATH) -> Vocabulary:
    """Read the condition table that ships with the product. Raises ValueError if an index or a name occurs twice."""
    table = json.loads(path.read_text(encoding="utf-8"))
    entities = [
        Entity(
            index=row["index"],
            name=row["name"],
            kind=EntityKind(row["kind"]),
            modality=row["modality"],
            anatomy=row["anatomy"],
            in_benchmark=row["in_benchmark"],
        )
        for row in table["conditions"]
    ]
    by_index = {entity.index: entity for entity in sorted(entities, key=lambda entity: entity.index)}
    by_name = {(entity.modality, entity.name): entity for entity in entities}
    if len(by_index) != len(entities) or len(by_name) != len(entities):
        raise ValueError("an index or a name occurs twice in the condition table")
    return Vocabulary(
        by_index=MappingProxyType(by_index),
        by_name=MappingProxyType(by_name),
        router_index=MappingProxyType(dict(table["router_index"])),
        table_rows=table["table_rows"],
    )
