"""An encoder for tests that computes plainly from the pixels, so that what it says can be worked out by hand."""

from collections.abc import Sequence

import numpy as np

from models.encoder.engine import (
    BundleInfo,
    EngineError,
    EntityReadings,
    FamilyInfo,
    FloatArray,
    PresenceFigures,
    RerankUnavailableError,
    ServedEntity,
)
from models.shared.vocabulary import EntityKind


def served(index: int = 12) -> ServedEntity:
    """Served entity with the cuts 0.3 and 0.7."""
    return ServedEntity(
        index=index,
        name=f"Entity {index}",
        kind=EntityKind.ABNORMAL,
        anatomy="Pleura",
        measured=PresenceFigures(
            threshold_present=0.7,
            threshold_absent=0.3,
            auroc=0.8,
            auroc_lo=0.7,
            auroc_hi=0.9,
            n_positive=30,
            n_images=100,
        ),
    )


class MeanEncoder:
    """Tokens are the mean grey of each cell of a grid; the probability of every entity is the image's mean grey.

    Attention lies on the brightest cell, a little less on the next one. `calls` holds the number of images of each
    call; reading raises `failure`.
    """

    def __init__(
        self, *entities: ServedEntity, side_px: int = 16, grid_side: int = 4, failure: EngineError | None = None
    ) -> None:
        self.info = FamilyInfo(
            bundle_id="mean-000000000000",
            modality="2D-CXR",
            router=1,
            dicom_modalities=("CR", "DX"),
            entities=entities or (served(),),
            input_depth=1,
            input_side_px=side_px,
            pad_value=0.0,
            grid_side=grid_side,
            token_width=1,
            embedding_width=2,
            rerank_top_k=None,
        )
        self.failure = failure
        self.calls: list[tuple[str, int]] = []

    def encode(self, images: FloatArray) -> FloatArray:
        """Mean grey of each cell."""
        self.calls.append(("encode", len(images)))
        grid = self.info.grid_side
        cell = self.info.input_side_px // grid
        cells = images.reshape(len(images), grid, cell, grid, cell).mean(axis=(2, 4))
        return np.asarray(cells.reshape(len(images), grid * grid, 1), dtype=np.float32)

    def read(
        self, tokens: FloatArray, entity_indices: Sequence[int], token_log_weight: FloatArray | None = None
    ) -> EntityReadings:
        """Mean grey as probability, the brightest cells as evidence."""
        del token_log_weight
        self.calls.append(("read", len(tokens)))
        if self.failure is not None:
            raise self.failure
        images, entities = len(tokens), len(entity_indices)
        grey = tokens[:, :, 0]
        angle = np.repeat(grey.mean(axis=1)[:, None], entities, axis=1)
        attention = np.zeros((images, entities, grey.shape[1]), dtype=np.float32)
        for image in range(images):
            second, first = np.argsort(grey[image], kind="stable")[-2:]
            attention[image, :, first], attention[image, :, second] = 0.6, 0.4
        return EntityReadings(
            embeddings=np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32),
            latents=np.zeros((images, entities, 1), dtype=np.float32),
            attention=attention,
            presence_prob=angle.astype(np.float32),
        )

    def rerank(self, query: FloatArray, candidates: FloatArray) -> FloatArray:
        """There is no reranker."""
        raise RerankUnavailableError(modality=self.info.modality, bundle_id=self.info.bundle_id)


class MeanModel:
    """A bundle whose families are these encoders."""

    def __init__(self, *encoders: MeanEncoder) -> None:
        self._encoders = {encoder.info.modality: encoder for encoder in encoders or (MeanEncoder(),)}
        self.info = BundleInfo(
            bundle_id="mean-000000000000",
            name="mean",
            version="1",
            bundle_sha256="0" * 64,
            families=tuple(encoder.info for encoder in self._encoders.values()),
        )

    def family(self, modality: str) -> MeanEncoder:
        """The encoder of one family."""
        self.info.family(modality)
        return self._encoders[modality]
