"""The seam to the image encoder: images enter `Encoder.encode`, entities of a place are read by `Encoder.read`.

An engine imports no torch. A bundle has one or more families, one for each modality it takes. `BundleInfo` and
`FamilyInfo` say what may be asked; asking for anything else is an `EngineError`.
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
class PresenceFigures:
    """What was measured of one entity's presence on held-out patients, and the cuts that follow from it.

    A calibrated probability >= `threshold_present` means present, < `threshold_absent` absent, between them it is
    undetermined. `auroc` with its 95 % interval; `n_positive` and `n_images` count the held-out images.
    """

    threshold_present: float
    threshold_absent: float
    auroc: float
    auroc_lo: float
    auroc_hi: float
    n_positive: int
    n_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedEntity:
    """One entity that a family may be asked about.

    `measured` is None where nobody measured this bundle's presence of it: its probability is then the raw output of the
    abnormality head and means neither present nor absent; embeddings and attention can be used all the same.
    """

    index: int
    name: str
    kind: EntityKind
    anatomy: str | None
    measured: PresenceFigures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyInfo:
    """What a bundle takes and reads of one modality family, such as chest films or chest CT.

    `router` is the modality's expert in the published model. `input_depth` is the number D of slices of the input, 1
    for a plain image; `input_side_px` the side S of its square planes; `pad_value` what lies outside the image in it.
    `grid_side` is the side of the row-major token grid, n = grid_side ** 2. `rerank_top_k` is the number of tokens a
    side of the reranker takes, None where the family has no reranker.
    """

    bundle_id: str
    modality: str
    router: int
    dicom_modalities: tuple[str, ...]
    entities: tuple[ServedEntity, ...]
    input_depth: int
    input_side_px: int
    pad_value: float
    grid_side: int
    token_width: int
    embedding_width: int
    rerank_top_k: int | None

    @property
    def token_count(self) -> int:
        """Tokens per image."""
        return self.grid_side**2

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: (S, S), or (D, S, S) for a volume."""
        plane = (self.input_side_px, self.input_side_px)
        return plane if self.input_depth == 1 else (self.input_depth, *plane)

    def entity(self, index: int) -> ServedEntity:
        """Find the served entity with this index. Raises EntityNotServedError."""
        for entity in self.entities:
            if entity.index == index:
                return entity
        raise EntityNotServedError(entity_index=index, bundle_id=self.bundle_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """What a bundle is: `bundle_sha256` covers every file; `bundle_id` is the name and the first 12 digits of it."""

    bundle_id: str
    name: str
    version: str
    bundle_sha256: str
    families: tuple[FamilyInfo, ...]

    def family(self, modality: str) -> FamilyInfo:
        """Find a family by its modality, such as `2D-CXR`. Raises FamilyNotServedError."""
        for family in self.families:
            if family.modality == modality:
                return family
        raise FamilyNotServedError(modality=modality, bundle_id=self.bundle_id)

    @property
    def dicom_modalities(self) -> tuple[str, ...]:
        """Values of Modality (0008,0060) that any family takes, in the families' order."""
        return tuple(dict.fromkeys(value for family in self.families for value in family.dicom_modalities))


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
        (b, e) float32 in [0, 1], calibrated on validation patients where the entity was measured.
    """

    embeddings: FloatArray
    latents: FloatArray
    attention: FloatArray
    presence_prob: FloatArray


class Encoder(Protocol):
    """An engine that has opened one family of a bundle."""

    @property
    def info(self) -> FamilyInfo:
        """What the opened family is."""
        ...

    def encode(self, images: FloatArray) -> FloatArray:
        """Images (b, S, S), or volumes (b, D, S, S), float32, to tokens (b, n, d) float32.

        Values lie in [0, 1] as models.shared.pixels and models.shared.volumes make them, or are the family's
        `pad_value`. Raises InputShapeError, EngineFailureError.
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

    def rerank(self, query: FloatArray, candidates: FloatArray) -> FloatArray:
        """Score candidates (m, k+1, d) against one query (k+1, d): (m,) float32 probabilities of relevance.

        A side is [latent, then k selected tokens with their positions], as models.encoder.selection makes it; the score
        is not symmetric. Raises RerankUnavailableError, InputShapeError, EngineFailureError.
        """
        ...


class EncoderModel(Protocol):
    """An engine that has opened a bundle; families are opened when they are first asked for."""

    @property
    def info(self) -> BundleInfo:
        """What the opened bundle is."""
        ...

    def family(self, modality: str) -> Encoder:
        """Give the encoder of one family. Raises FamilyNotServedError, BundleError (a broken graph)."""
        ...


class EngineError(Exception):
    """An engine could not do what it was asked. Base of the errors below.

    EngineError > InputShapeError | EntityNotServedError | FamilyNotServedError | RerankUnavailableError
                | EngineFailureError
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


class FamilyNotServedError(EngineError, LookupError):
    """The bundle does not take images of this modality."""

    def __init__(self, *, modality: str, bundle_id: str) -> None:
        self.modality = modality
        self.bundle_id = bundle_id
        super().__init__(f"bundle {bundle_id} does not serve {modality}")


class RerankUnavailableError(EngineError, LookupError):
    """The family has no reranker."""

    def __init__(self, *, modality: str, bundle_id: str) -> None:
        self.modality = modality
        self.bundle_id = bundle_id
        super().__init__(f"bundle {bundle_id} has no reranker for {modality}")


class EngineFailureError(EngineError, RuntimeError):
    """The runtime failed on valid input (out of memory, a broken graph), or gave what is not a number."""
