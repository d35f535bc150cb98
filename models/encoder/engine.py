"""The seam to the image encoder: images enter `Encoder.encode`, entities of a place are read by `Encoder.read`.

An engine imports no torch. `BundleInfo` says what a bundle may be asked; asking for anything else is an `EngineError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.shared.vocabulary import EntityKind

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedEntity:
    """One entity that a bundle may be asked about, with the cuts and the figures it was admitted on.

    A calibrated probability >= `threshold_present` means present, < `threshold_absent` absent, between them it is
    undetermined. `auroc` with its 95 % interval is from held-out patients; `n_positive` and `n_images` count the
    held-out images.
    """

    index: int
    name: str
    kind: EntityKind
    anatomy: str | None
    threshold_present: float
    threshold_absent: float
    auroc: float
    auroc_lo: float
    auroc_hi: float
    n_positive: int
    n_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """What a bundle is and what it takes.

    `bundle_sha256` covers every file of the bundle; `bundle_id` is the name and the first 12 digits of it.
    `input_side_px` is the side S of the square input, `grid_side` that of the row-major token grid, n = grid_side ** 2.
    """

    bundle_id: str
    name: str
    version: str
    bundle_sha256: str
    modality: str
    dicom_modalities: tuple[str, ...]
    entities: tuple[ServedEntity, ...]
    input_side_px: int
    grid_side: int
    token_width: int
    embedding_width: int

    @property
    def token_count(self) -> int:
        """Tokens per image."""
        return self.grid_side**2

    def entity(self, index: int) -> ServedEntity:
        """Find the served entity with this index. Raises EntityNotServedError."""
        for entity in self.entities:
            if entity.index == index:
                return entity
        raise EntityNotServedError(entity_index=index, bundle_id=self.bundle_id)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EntityReadings:
    """What the model says of e entities on b images.

    Attributes
    ----------
    embeddings
        (b, e, D) float32, unit norm: what retrieval compares.
    latents
        (b, e, d) float32: before the retrieval projection; the reranker's input.
    attention
        (b, e, n) float32, sums to 1 over the n tokens of the row-major grid.
    presence_prob
        (b, e) float32 in [0, 1], calibrated on validation patients.
    """

    embeddings: FloatArray
    latents: FloatArray
    attention: FloatArray
    presence_prob: FloatArray


class Encoder(Protocol):
    """An engine that has opened one bundle."""

    @property
    def info(self) -> BundleInfo:
        """What the opened bundle is."""
        ...

    def encode(self, images: FloatArray) -> FloatArray:
        """Images (b, S, S) float32 in [0, 1], as models.shared.pixels.model_input gives, to tokens (b, n, d) float32.

        Raises InputShapeError, EngineFailureError.
        """
        ...

    def read(
        self, tokens: FloatArray, entity_indices: Sequence[int], token_log_weight: FloatArray | None = None
    ) -> EntityReadings:
        """Read entities from tokens (b, n, d); one pass over the image's keys and values for all of them.

        `token_log_weight` (b, n), finite, is added to every attention logit: the logarithm of a soft mask restricts the
        reading to a place; None or zeros read the whole image. Raises InputShapeError, EntityNotServedError,
        EngineFailureError.
        """
        ...


class EngineError(Exception):
    """An engine could not do what it was asked. Base of the errors below.

    EngineError > InputShapeError | EntityNotServedError | EngineFailureError
    """


class InputShapeError(EngineError, ValueError):
    """An array has a wrong shape, type or range; `argument` names it."""

    def __init__(self, *, argument: str, expected: str, got: str) -> None:
        self.argument = argument
        self.expected = expected
        self.got = got
        super().__init__(f"{argument}: expected {expected}, got {got}")


class EntityNotServedError(EngineError, LookupError):
    """The bundle may not be asked about this entity."""

    def __init__(self, *, entity_index: int, bundle_id: str) -> None:
        self.entity_index = entity_index
        self.bundle_id = bundle_id
        super().__init__(f"bundle {bundle_id} does not serve entity {entity_index}")


class EngineFailureError(EngineError, RuntimeError):
    """The runtime failed on valid input (out of memory, a broken graph), or gave what is not a number."""
