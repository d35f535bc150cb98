"""Trunk features and truth enter; a trained projection and entity reader leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoder.nets.fusion import EntityReader, FusionSizes, Readings
from models.encoder.nets.lite0 import TokenProjection
from models.encoder.nets.position import sinusoidal_positions
from models.encoder.train.objectives import supervised_contrastive
from models.encoder.train.recipe import Recipe

_SMALLEST_SCALE = 1e-3  # of a channel that hardly varies
_WARM_UP_SHARE = 0.15
_READ_BATCH = 64


class Heads(NamedTuple):
    """What is trained on top of the frozen trunk."""

    project: TokenProjection
    reader: EntityReader


class Examples(NamedTuple):
    """Features (m, n, c) float16 and truth (m, e) bool of m films; `entity_rows` (e,) int64 are the entities' rows."""

    features: Tensor
    truth: Tensor
    entity_rows: Tensor

    def pick(self, films: Tensor) -> Examples:
        """Keep the films with these numbers."""
        return Examples(self.features[films], self.truth[films], self.entity_rows)


def build_heads(recipe: Recipe, *, condition_rows: int) -> Heads:
    """Heads with fresh weights, of the recipe's sizes."""
    sizes = FusionSizes(
        width=recipe.token_width,
        layers=recipe.layers,
        heads=recipe.heads,
        inner=recipe.inner,
        experts=1,
        condition_rows=condition_rows,
        embedding_width=recipe.token_width,
        dropout=recipe.dropout,
    )
    positions = sinusoidal_positions(recipe.grid_side, recipe.grid_side, recipe.token_width)
    reader = EntityReader(sizes, positions)
    nn.init.normal_(reader.condition_embeddings.weight, std=recipe.query_scale)
    return Heads(TokenProjection(recipe.token_width), reader)


def fit_heads(
    recipe: Recipe, examples: Examples, *, condition_rows: int, seed: int, progress: Callable[[int, float], None]
) -> Heads:
    """Train fresh heads on `examples`; the same seed on the same machine gives the same weights."""
    torch.manual_seed(seed)
    heads = build_heads(recipe, condition_rows=condition_rows)
    _standardise(heads.project, examples.features)
    parameters = [*heads.project.parameters(), *heads.reader.parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": [tensor for tensor in parameters if tensor.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [tensor for tensor in parameters if tensor.ndim < 2], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.99),
    )
    batches = max(1, len(examples.features) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * batches, pct_start=_WARM_UP_SHARE
    )
    _train_mode(heads, training=True)
    for epoch in range(recipe.epochs):
        total = 0.0
        for batch in torch.randperm(len(examples.features)).split(recipe.batch)[:batches]:
            loss = batch_loss(recipe, heads, examples.pick(batch))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, recipe.gradient_norm)
            optimiser.step()
            schedule.step()
            total += loss.item()
        progress(epoch + 1, total / batches)
    _train_mode(heads, training=False)
    return heads


def batch_loss(recipe: Recipe, heads: Heads, batch: Examples) -> Tensor:
    """Abnormality cross-entropy plus, per entity, a contrastive loss that pulls films of equal presence together.

    Films with the entity and films without it carry half of the contrastive weight each, however rare the entity is.
    """
    readings = _read(heads, batch.features, batch.entity_rows)
    truth = batch.truth.float()
    presence = functional.binary_cross_entropy_with_logits(readings.logits, truth)
    embeddings = readings.embeddings.transpose(0, 1)
    alike = batch.truth.T[:, :, None] == batch.truth.T[:, None, :]
    share = truth.mean(dim=0, keepdim=True)
    anchor_weight = (truth / share.clamp(min=1e-6) + (1 - truth) / (1 - share).clamp(min=1e-6)).T
    contrast = supervised_contrastive(
        embeddings @ embeddings.transpose(1, 2), alike, recipe.contrastive_temperature, anchor_weight
    )
    return presence + recipe.contrastive_weight * contrast


def read_all(heads: Heads, examples: Examples) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (m, e), embeddings (m, e, D) and mean tokens (m, d) of unit length of all films of `examples`."""
    logits, embeddings, plain = [], [], []
    with torch.inference_mode():
        for features in examples.features.split(_READ_BATCH):
            readings = _read(heads, features, examples.entity_rows)
            logits.append(readings.logits)
            embeddings.append(readings.embeddings)
            plain.append(functional.normalize(heads.project(features.float()).mean(dim=1), dim=-1))
    return torch.cat(logits), torch.cat(embeddings), torch.cat(plain)


def _read(heads: Heads, features: Tensor, entity_rows: Tensor) -> Readings:
    tokens = heads.project(features.float())
    readings: Readings = heads.reader(tokens, entity_rows, torch.zeros(tokens.shape[:2]), 0)
    return readings


def _standardise(project: TokenProjection, features: Tensor) -> None:
    flat = features.reshape(-1, features.shape[-1]).float()
    project.mean.copy_(flat.mean(dim=0))
    project.scale.copy_(flat.std(dim=0) + _SMALLEST_SCALE)


def _train_mode(heads: Heads, *, training: bool) -> None:
    for head in heads:
        head.train(training)
