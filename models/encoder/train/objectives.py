"""Losses of MedReCo's conditional stage: similarities and relevance enter; a scalar per batch leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


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


def image_text_contrastive(similarity: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """Pull the texts of an image's positives to it, and the images of a text's, its own among them; of both, the mean.

    `similarity` (n, n) cosines, row = image, column = text; `positive` (n, n) bool, which holds on the diagonal.
    """

    def one_way(logits: Tensor, wanted: Tensor) -> Tensor:
        log_share = logits.log_softmax(dim=-1)
        return -((log_share * wanted).sum(dim=-1) / wanted.sum(dim=-1).clamp(min=1)).mean()

    return _both_ways(one_way, similarity / temperature, positive)


def diagonal_contrastive(similarity: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """Tell an image's own text from those of the others, and a text's own image; of both ways, the mean.

    Arguments as above, but other positives are left out of the comparison: with none off the diagonal it is InfoNCE.
    """
    own = torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)

    def one_way(logits: Tensor, left_out: Tensor) -> Tensor:
        compared = logits.masked_fill(left_out, float("-inf"))
        return (compared.logsumexp(dim=-1) - logits.diagonal()).mean()

    return _both_ways(one_way, similarity / temperature, positive & ~own)


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletRule:
    """Which triples count: relevance above `positive` against below `negative`, apart by more than `gap`."""

    margin: float = 0.1
    gap: float = 0.25
    positive: float = 0.75
    negative: float = 1.0
    temperature: float = 0.07


def triplet_ranking(
    similarity: Tensor, relevance: Tensor, rule: TripletRule, *, weighted: bool = True
) -> tuple[Tensor, Tensor]:
    """Rank the more relevant of two higher, by a margin; with `weighted`, the more so the further apart they are.

    Both (n, n). Returns the mean over anchors that have a triple, of the means over their triples, and the number of
    triples.
    """
    apart = relevance[:, :, None] - relevance[:, None, :]
    counted = (apart > rule.gap) & (relevance[:, :, None] > rule.positive) & (relevance[:, None, :] < rule.negative)
    missed = (similarity[:, None, :] - similarity[:, :, None] + rule.margin).clamp(min=1e-8)
    scaled = missed * (apart if weighted else 1) / rule.temperature
    costs = functional.softplus(scaled) * counted
    per_anchor = counted.sum(dim=(1, 2))
    means = costs.sum(dim=(1, 2)) / per_anchor.clamp(min=1)
    return _weighted_mean(means, per_anchor > 0, None), per_anchor.sum()


def _both_ways(one_way: Callable[[Tensor, Tensor], Tensor], logits: Tensor, marked: Tensor) -> Tensor:
    return (one_way(logits, marked) + one_way(logits.mT, marked.mT)) / 2


def _weighted_mean(values: Tensor, kept: Tensor, weight: Tensor | None) -> Tensor:
    weight = kept.to(values.dtype) if weight is None else weight * kept
    return (values * weight).sum() / weight.sum().clamp(min=torch.finfo(values.dtype).tiny)
