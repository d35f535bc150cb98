"""The fixture of a training step enters: images with their reports; checks of latents and losses leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.encoder.nets.text import load_text
from models.encoder.parity.checks import Arrays, Check, Checker, NotApplicableError, absolute, relative
from models.encoder.parity.folder import FixtureFolder
from models.encoder.parity.formulas import LOSS_TOLERANCE
from models.encoder.parity.runners import encode_rows, read_rows
from models.encoder.train.objectives import image_text_contrastive, smooth_average_precision

ONNX_NOT_APPLICABLE: Final = "training is not part of a served graph"
TEMPERATURES: Final = (0.05, 0.5)
"""Bounds of the learned temperature of the image-text loss."""

_INPUTS: Final = frozenset(
    {
        "video",
        "condition_index",
        "modality",
        "input_ids",
        "attention_mask",
        "gt_similarity",
        "abnormal_labels",
        "smooth_ap_tau",
        "positive_threshold",
    }
)


def training_checkers(folder: FixtureFolder) -> tuple[Checker, ...]:
    """Checker of the training step."""
    return (Checker("training_forward", lambda _, arrays, path: _forward(folder, arrays, path), _INPUTS),)


def _forward(folder: FixtureFolder, arrays: Arrays, path: str) -> Iterator[Check]:
    """Conditions by images, in evaluation mode; the reranker's loss is off there, and its values are zero."""
    if path != "torch":
        raise NotApplicableError(ONNX_NOT_APPLICABLE)
    conditions, images = arrays["video"].shape[:2]
    latents, logits = _images(folder, arrays)
    texts = _texts(folder, arrays).reshape(conditions, images, -1)
    temperature = float(folder.state["log_temperature"].double().exp().clamp(*TEMPERATURES))
    positive = torch.from_numpy(arrays["gt_similarity"]) >= float(arrays["positive_threshold"])
    tau = float(arrays["smooth_ap_tau"])
    losses = {
        "info_nce": _each(
            image_text_contrastive(image @ text.mT, wanted, temperature)
            for image, text, wanted in zip(latents, texts, positive, strict=True)
        ),
        "smooth_ap": _each(
            smooth_average_precision(image @ image.mT, wanted, tau)
            for image, wanted in zip(latents, positive, strict=True)
        ),
        "abnormal_bce": functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(arrays["abnormal_labels"]), reduction="none"
        ).mean(dim=-1),
        "rerank": torch.zeros(conditions),
    }
    yield relative("image_latents", latents.numpy(), arrays["image_latents"])
    yield relative("text_latents", texts.numpy(), arrays["text_latents"])
    for array, values in losses.items():
        yield relative(array, values.numpy(), arrays[array], LOSS_TOLERANCE)
    total = sum(values.mean() for values in losses.values())
    yield relative("total_loss", np.array(total), arrays["total_loss"], LOSS_TOLERANCE)
    yield absolute("log_temperature", folder.state["log_temperature"].numpy(), arrays["log_temperature"])
    yield absolute("temperature_used", np.array(temperature), arrays["temperature_used"])


def _images(folder: FixtureFolder, arrays: Arrays) -> tuple[Tensor, Tensor]:
    """Latents (conditions, images, D) and abnormality logits (conditions, images)."""
    conditions, images = arrays["video"].shape[:2]
    videos = arrays["video"].reshape(conditions * images, *arrays["video"].shape[2:])
    routers, entities = (np.repeat(arrays[name], images) for name in ("modality", "condition_index"))
    runner = folder.runner("torch")
    readings = read_rows(runner, encode_rows(runner, videos, routers), entities, routers)
    latents, logits = torch.from_numpy(readings["embeddings"]), torch.from_numpy(readings["logits"])
    return latents.reshape(conditions, images, -1), logits.reshape(conditions, images)


def _texts(folder: FixtureFolder, arrays: Arrays) -> Tensor:
    encoder = load_text(folder.state, norm_eps=folder.config.text_norm_eps)
    with torch.inference_mode():
        return encoder(torch.from_numpy(arrays["input_ids"]), torch.from_numpy(arrays["attention_mask"]))


def _each(values: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(values))
