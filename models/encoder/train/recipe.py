"""The training recipe of the shipped bundle, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Sizes and schedule. Shares and weights are fractions; `learning_rate` is the peak of a one-cycle schedule.

    `token_drop` is the chance that a token is hidden from the reader in training; `feature_noise` is in standard
    deviations of each feature, drawn once per film and once per token; `variants` is how many varied copies of a film
    are drawn from. All three are off: the shipped bundle was trained without them.
    """

    name: str = "interval-cxr-small"
    version: str = "0.1.1"
    modality: str = "2D-CXR"
    dicom_modalities: tuple[str, ...] = ("CR", "DX")
    input_side_px: int = 384
    token_width: int = 128
    layers: int = 3
    heads: int = 8
    inner: int = 128
    dropout: float = 0.25
    token_drop: float = 0.0
    feature_noise: float = 0.0
    query_scale: float = 0.5
    variants: int = 0
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    gradient_norm: float = 0.5
    contrastive_weight: float = 0.1
    contrastive_temperature: float = 0.2
    folds: int = 5
    test_share: float = 0.3
    least_training_positives: int = 15

    @property
    def grid_side(self) -> int:
        """Side of the token grid: one token per 32 pixels."""
        return self.input_side_px // 32
