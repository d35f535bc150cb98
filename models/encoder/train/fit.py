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
_HIDDEN_LOG_WEIGHT = -1e4


class Heads(NamedTuple):
    """What is trained on top of the frozen trunk."""

    project: TokenProjection
    reader: EntityReader


class Examples(NamedTuple):
    """Features (m, 1 + v, n, c) float16 and truth (m, e) bool of m films; `entity_rows` (e,) int64 are the rows.

    The first of the 1 + v feature maps is the film as it is, the others are variations of it.
    """

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
            loss = batch_loss(recipe, heads, draw_variants(examples.pick(batch)))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, recipe.gradient_norm)
            optimiser.step()
            schedule.step()
            total += loss.item()
        progress(epoch + 1, total / batches)
    _train_mode(heads, training=False)
    return heads


def draw_variants(batch: Examples) -> Examples:
    """Keep one feature map per film, drawn at random, as the only one."""
    films, count = batch.features.shape[:2]
    drawn = batch.features[torch.arange(films), torch.randint(count, (films,))]
    return Examples(drawn.unsqueeze(1), batch.truth, batch.entity_rows)


def batch_loss(recipe: Recipe, heads: Heads, batch: Examples) -> Tensor:
    """Abnormality cross-entropy plus, per entity, a contrastive loss that pulls films of equal presence together.

    Films with the entity and films without it carry half of the contrastive weight each, however rare the entity is.
    """
    features = batch.features[:, 0].float()
    spread = recipe.feature_noise * heads.project.scale
    features = features + spread * (torch.randn(features.shape) + torch.randn(len(features), 1, features.shape[-1]))
    hidden = torch.rand(features.shape[:2]) < recipe.token_drop
    readings = _read(heads, features, batch.entity_rows, hidden * _HIDDEN_LOG_WEIGHT)
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
    """Logits (m, e), embeddings (m, e, D) and mean tokens (m, d) of unit length of all films, each as it is."""
    logits, embeddings, plain = [], [], []
    with torch.inference_mode():
        for features in examples.features.split(_READ_BATCH):
            films = features[:, 0].float()
            readings = _read(heads, films, examples.entity_rows, torch.zeros(films.shape[:2]))
            logits.append(readings.logits)
            embeddings.append(readings.embeddings)
            plain.append(functional.normalize(heads.project(films).mean(dim=1), dim=-1))
    return torch.cat(logits), torch.cat(embeddings), torch.cat(plain)


def _read(heads: Heads, features: Tensor, entity_rows: Tensor, token_log_weight: Tensor) -> Readings:
    readings: Readings = heads.reader(heads.project(features), entity_rows, token_log_weight, 0)
    return readings


def _standardise(project: TokenProjection, features: Tensor) -> None:
    flat = features.reshape(-1, features.shape[-1]).float()
    project.mean.copy_(flat.mean(dim=0))
    project.scale.copy_(flat.std(dim=0) + _SMALLEST_SCALE)


def _train_mode(heads: Heads, *, training: bool) -> None:
    for head in heads:
        head.train(training)
