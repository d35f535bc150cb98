"""Films and an engine enter; figures on the films the bundle has not seen leave."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.encoder.engine import Encoder, EntityReadings, ServedEntity
from models.encoder.figures import Cuts, Figure, HeldOut, macro_figure, presence_figures, retrieval_figure
from models.encoder.films import Film, load_label_map, truth_table
from models.shared.pixels import model_input, read_image_file

logger = logging.getLogger(__name__)

_BATCH = 8
_NO_FINDING = "No Finding"
_MACROS = (("presence", "auroc"), ("presence", "auroc_among_abnormal"), ("retrieval", "recall@1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Films that may judge a bundle, and how many were left out because the bundle knows the patient or the image."""

    films: tuple[Film, ...]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilmReadings:
    """Readings of m films, the first axis being films, and their mean token `plain` (m, d) of unit length."""

    readings: EntityReadings
    plain: NDArray[np.float32]


def leave_out_seen(films: Sequence[Film], manifest: Path | None) -> Unseen:
    """Drop films whose patient or hash stands in the bundle's manifest; without one nobody knows, and all stay."""
    if manifest is None:
        return Unseen(films=tuple(films), left_out=0)
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    patients, hashes = {row["patient"] for row in rows}, {row["sha256"] for row in rows}
    kept = tuple(film for film in films if film.patient not in patients and film.sha256 not in hashes)
    return Unseen(films=kept, left_out=len(films) - len(kept))


def read_films_with(encoder: Encoder, data: Path, films: Sequence[Film]) -> FilmReadings:
    """Encode and read all served entities on every film. Raises PixelError, OSError, EngineError."""
    indices = [entity.index for entity in encoder.info.entities]
    parts: list[EntityReadings] = []
    plain: list[NDArray[np.float32]] = []
    for start in range(0, len(films), _BATCH):
        batch = films[start : start + _BATCH]
        images = [model_input(read_image_file(data / film.image), encoder.info.input_side_px) for film in batch]
        tokens = encoder.encode(np.stack(images))
        parts.append(encoder.read(tokens, indices))
        mean = tokens.mean(axis=1)
        plain.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
        logger.info("evaluate.films", extra={"done": start + len(batch), "of": len(films)})
    return FilmReadings(
        readings=EntityReadings(
            embeddings=np.concatenate([part.embeddings for part in parts]),
            latents=np.concatenate([part.latents for part in parts]),
            attention=np.concatenate([part.attention for part in parts]),
            presence_prob=np.concatenate([part.presence_prob for part in parts]),
        ),
        plain=np.concatenate(plain),
    )


def judge(entities: Sequence[ServedEntity], films: Sequence[Film], read: FilmReadings) -> list[Figure]:
    """Figures of every served entity that the label map speaks of, then the macro figures."""
    rules = {rule.index: rule for rule in load_label_map()}
    figures: list[Figure] = []
    for column, entity in enumerate(entities):
        if entity.index not in rules:
            continue
        held_out = HeldOut(
            entity=entity.name,
            truth=truth_table(films, [rules[entity.index]])[:, 0],
            probability=read.readings.presence_prob[:, column],
            embeddings=read.readings.embeddings[:, column],
            plain=read.plain,
            patients=tuple(film.patient for film in films),
            views=tuple(film.view for film in films),
            abnormal=np.array([_NO_FINDING not in film.findings for film in films]),
        )
        figures += presence_figures(held_out, _cuts(entity))
        if held_out.truth.any():
            figures.append(retrieval_figure(held_out))
    return figures + [macro_figure(figures, task=task, metric=metric) for task, metric in _MACROS]


def _cuts(entity: ServedEntity) -> Cuts:
    """Cuts of an entity; of one never measured the published model's own, the middle."""
    if entity.measured is None:
        return Cuts(present=0.5, absent=0.5)
    return Cuts(present=entity.measured.threshold_present, absent=entity.measured.threshold_absent)
