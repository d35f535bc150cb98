"""Losses of MedReCo's conditional stage: similarities and relevance enter; a scalar per batch leaves."""

from __future__ import annotations

import torch
from torch import Tensor


def supervised_contrastive(
    similarity: Tensor, positive: Tensor, temperature: float, anchor_weight: Tensor | None = None
) -> Tensor:
    """Pull positives together against all others, the diagonal left out.

    `similarity` (..., n, n) cosines, `positive` (..., n, n) bool, `anchor_weight` (..., n) or None for equal weights.
    Weighted mean over anchors that have a positive; 0 if none has.
    """
    own = torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)
    positive = positive & ~own
    logits = (similarity / temperature).masked_fill(own, float("-inf"))
    log_share = logits - logits.logsumexp(dim=-1, keepdim=True)
    count = positive.sum(dim=-1)
    pulled = -log_share.masked_fill(~positive, 0).sum(dim=-1) / count.clamp(min=1)
    return _weighted_mean(pulled, count > 0, anchor_weight)


def smooth_average_precision(
    similarity: Tensor, positive: Tensor, temperature: float, anchor_weight: Tensor | None = None
) -> Tensor:
    """One minus the smoothed average precision of each anchor's ranking of the others.

    Arguments as above; `temperature` is that of the sigmoid that stands for a comparison.
    """
    own = torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)
    positive = positive & ~own
    # above[..., i, j, k]: how far k ranks above j for anchor i; neither the anchor nor j itself is counted
    above = ((similarity[..., None, :] - similarity[..., :, None]) / temperature).sigmoid()
    above = above.masked_fill(own[:, None, :] | own[None, :, :], 0)
    rank_all = 1 + above.sum(dim=-1)
    rank_positive = 1 + (above * positive[..., None, :]).sum(dim=-1)
    count = positive.sum(dim=-1)
    precision = (rank_positive / rank_all * positive).sum(dim=-1) / count.clamp(min=1)
    return _weighted_mean(1 - precision, count > 0, anchor_weight)


def _weighted_mean(values: Tensor, kept: Tensor, weight: Tensor | None) -> Tensor:
    weight = kept.to(values.dtype) if weight is None else weight * kept
    return (values * weight).sum() / weight.sum().clamp(min=torch.finfo(values.dtype).tiny)
