"""Images that several threads encode at the same moment enter one engine call; each thread gets its own tokens back.

A wrapper of `models.encoder.engine.EncoderModel`. The first caller of a batch waits a few milliseconds for others and
runs the call for all of them: there is no thread of its own, so there is nothing to start or to shut down. Volumes are
passed on as they are: one of them is as large as hundreds of images.

An image's tokens do not depend on its company beyond float rounding, so neither do a draft's words. When a shared call
fails, every caller's images are encoded alone: one bad image fails its own study only.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.encoder.checks import check_images
from models.encoder.engine import (
    BundleInfo,
    Encoder,
    EncoderModel,
    EngineError,
    EntityReadings,
    FamilyInfo,
    FloatArray,
)


class BatchingModel:
    """`EncoderModel` whose plain-image families gather the images of concurrent callers."""

    def __init__(self, model: EncoderModel, *, batch_images: int, wait_s: float) -> None:
        self._model = model
        self._batch_images = batch_images
        self._wait_s = wait_s
        self._opened: dict[str, Encoder] = {}
        self._opening = threading.Lock()

    @property
    def info(self) -> BundleInfo:
        """What the opened bundle is."""
        return self._model.info

    def family(self, modality: str) -> Encoder:
        """Give the encoder of one family. Raises FamilyNotServedError, BundleError."""
        encoder = self._model.family(modality)
        if encoder.info.input_depth > 1:
            return encoder
        with self._opening:
            if modality not in self._opened:
                self._opened[modality] = BatchingEncoder(encoder, batch_images=self._batch_images, wait_s=self._wait_s)
            return self._opened[modality]


@dataclass(slots=True, eq=False)
class _Batch:
    """Images of several callers, in their order. Once `done` is set, `tokens` are there unless the call failed."""

    images: list[FloatArray] = field(default_factory=list)
    tokens: FloatArray | None = None
    full: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def size(self) -> int:
        return sum(len(images) for images in self.images)


class BatchingEncoder:
    """`models.encoder.engine.Encoder` around another one. Safe to call from several threads.

    Parameters
    ----------
    encoder
        The engine; its `encode` is called by one thread at a time.
    batch_images
        Images of one call at most, unless a single caller brings more.
    wait_s
        Seconds that the first images of a batch wait for others; while a call runs, the next batch fills.
    """

    def __init__(self, encoder: Encoder, *, batch_images: int, wait_s: float) -> None:
        self._encoder = encoder
        self._most = batch_images
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._running = threading.Lock()
        self._open: _Batch | None = None

    @property
    def info(self) -> FamilyInfo:
        """What the opened family is."""
        return self._encoder.info

    def encode(self, images: FloatArray) -> FloatArray:
        """Images (b, S, S) to tokens (b, n, d), together with those of other callers. Raises as the engine does."""
        check_images(images, self.info)
        batch, start, is_first = self._join(images)
        if is_first:
            self._lead(batch)
        batch.done.wait()
        if batch.tokens is None:
            return self._alone(images)
        return batch.tokens[start : start + len(images)]

    def read(
        self, tokens: FloatArray, entity_indices: Sequence[int], token_log_weight: FloatArray | None = None
    ) -> EntityReadings:
        """Read entities from tokens, as the engine does."""
        return self._encoder.read(tokens, entity_indices, token_log_weight)

    def rerank(self, query: FloatArray, candidates: FloatArray) -> FloatArray:
        """Score candidates, as the engine does."""
        return self._encoder.rerank(query, candidates)

    def _join(self, images: FloatArray) -> tuple[_Batch, int, bool]:
        """Put the images into the open batch, or open one; return it, their place, and whether it was opened."""
        with self._lock:
            batch = self._open
            if batch is None or batch.size + len(images) > self._most:
                if batch is not None:
                    batch.full.set()
                batch = self._open = _Batch()
            start, is_first = batch.size, not batch.images
            batch.images.append(images)
            if batch.size >= self._most:
                batch.full.set()
            return batch, start, is_first

    def _lead(self, batch: _Batch) -> None:
        """Wait for others, then run the call for all; while another call runs, the batch goes on filling."""
        batch.full.wait(self._wait_s)
        try:
            with self._running:
                with self._lock:
                    if self._open is batch:
                        self._open = None
                batch.tokens = self._encoder.encode(np.concatenate(batch.images))
        except EngineError:
            if len(batch.images) == 1:
                raise
        finally:
            batch.done.set()

    def _alone(self, images: FloatArray) -> FloatArray:
        with self._running:
            return self._encoder.encode(images)
