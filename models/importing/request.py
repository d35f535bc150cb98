"""What somebody who imports a checkpoint chooses, as values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Final

from models.importing.families import FAMILIES, FamilyRecipe
from models.shared.checkpoints import RERANK_TOP_K

DEFAULT_SIDE_PX: Final = 480
DEFAULT_VERSION: Final = "1.0.0"
NOT_STATED: Final = "not stated"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_VERSION: Final = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.+-]{0,30}[0-9A-Za-z])?")


class RequestError(ValueError):
    """A choice that cannot be meant; the text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """Choices of one import.

    `side_px` is the image side that the model was configured for, which its weights do not tell; nor do they tell
    `top_k`, the tokens that a side of the reranker takes. `depths` overrides the slices of a family's input.
    """

    name: str
    version: str = DEFAULT_VERSION
    modalities: tuple[str, ...] = tuple(FAMILIES)
    side_px: int = DEFAULT_SIDE_PX
    top_k: int = RERANK_TOP_K
    depths: Mapping[str, int] = field(default_factory=dict)
    license: str = NOT_STATED
    origin: str = NOT_STATED
    imported_on: date

    def __post_init__(self) -> None:
        """Raise RequestError for a choice that cannot be meant."""
        if not _NAME.fullmatch(self.name):
            raise RequestError("A bundle's name is made of small letters, digits, dots and hyphens, 64 at most.")
        if not _VERSION.fullmatch(self.version):
            raise RequestError("A bundle's version is made of letters, digits, dots and hyphens, 32 at most.")
        if not self.modalities:
            raise RequestError("At least one modality must be imported.")
        for modality in (*self.modalities, *self.depths):
            if modality not in FAMILIES:
                raise RequestError(f"There is no modality {modality}; there are {', '.join(FAMILIES)}.")
        if min(self.side_px, self.top_k, *self.depths.values()) < 1:
            raise RequestError("Side, top-k and depth are whole numbers from 1.")
        if any(FAMILIES[modality].input_depth == 1 and depth != 1 for modality, depth in self.depths.items()):
            raise RequestError("The depth of a plain image is 1.")

    @property
    def families(self) -> tuple[FamilyRecipe, ...]:
        """Families to import, each once, in the order in which they were named."""
        return tuple(FAMILIES[modality] for modality in dict.fromkeys(self.modalities))

    def depth(self, family: FamilyRecipe) -> int:
        """Slices of one input of `family`."""
        return self.depths.get(family.modality, family.input_depth)


def name_from(file_name: str) -> str:
    """Make a bundle's name out of that of a file or folder. Raises RequestError where nothing is left of it."""
    stem = re.sub(r"\.(safetensors|pt|pth|bin|ckpt)$", "", file_name.lower())
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:64].strip("-")
    if not name:
        raise RequestError("No name can be made of the file's: give one with --name.")
    return name


def parse_depths(given: Sequence[str]) -> dict[str, int]:
    """Read `MODALITY=SLICES`. Raises RequestError."""
    depths = {}
    for text in given:
        modality, separator, slices = text.partition("=")
        if not separator or not slices.isdecimal():
            raise RequestError("A depth is given as MODALITY=SLICES, for example 3D-CT=240.")
        depths[modality] = int(slices)
    return depths


def to_json(request: ImportRequest) -> str:
    """One line that `from_json` reads, for the process that converts."""
    plain = asdict(replace(request, depths={}))
    return json.dumps(plain | {"depths": dict(request.depths), "imported_on": request.imported_on.isoformat()})


def from_json(text: str) -> ImportRequest:
    """Read what `to_json` wrote. Raises RequestError."""
    try:
        plain = json.loads(text)
        return ImportRequest(
            **plain
            | {"modalities": tuple(plain["modalities"]), "imported_on": date.fromisoformat(plain["imported_on"])}
        )
    except (KeyError, TypeError, ValueError) as exc:
        if isinstance(exc, RequestError):
            raise
        raise RequestError("The request cannot be read.") from exc
