"""EfficientNet-Lite0 as token maker: grey images enter, a grid of tokens leaves.

Architecture after Tan and Le, "EfficientNet" (2019), Lite variant 0: no squeeze-and-excitation, ReLU6, stem and head
not scaled. Attribute names follow the published ImageNet state dict, so it loads strictly.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
TOKEN_STRIDE_PX: Final = 32
_NORM_EPS: Final = 1e-3
_STEM_WIDTH: Final = 32


class Stage(NamedTuple):
    """One row of the architecture table: `repeats` blocks, the first with `stride`."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES: Final = (
    Stage(repeats=1, kernel=3, stride=1, expand=1, width=16),
    Stage(repeats=2, kernel=3, stride=2, expand=6, width=24),
    Stage(repeats=2, kernel=5, stride=2, expand=6, width=40),
    Stage(repeats=3, kernel=3, stride=2, expand=6, width=80),
    Stage(repeats=3, kernel=5, stride=1, expand=6, width=112),
    Stage(repeats=4, kernel=5, stride=2, expand=6, width=192),
    Stage(repeats=1, kernel=3, stride=1, expand=6, width=320),
)
TAPPED_BLOCKS: Final = (7, 10, 14)
FEATURE_WIDTH: Final = 80 + 112 + 192  # of the tapped blocks


class SamePadConv(nn.Conv2d):
    """Convolution whose output side is the input side over the stride; odd padding goes right and below."""

    def forward(self, features: Tensor) -> Tensor:
        """(b, c, h, w) to (b, c', h/stride, w/stride). Sides are taken as multiples of the stride."""
        total = self.kernel_size[0] - self.stride[0]
        before = total // 2
        after = total - before
        return super().forward(functional.pad(features, (before, after, before, after)))


def _conv(wide_in: int, wide_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> SamePadConv:
    return SamePadConv(wide_in, wide_out, kernel, stride=stride, groups=groups, bias=False)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=_NORM_EPS)


class InvertedBottleneck(nn.Module):
    """Expand, depth-wise convolve, project; residual where shapes allow."""

    def __init__(self, wide_in: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = wide_in * stage.expand
        self.expands = stage.expand != 1
        self.residual = stride == 1 and wide_in == stage.width
        if self.expands:
            self._expand_conv = _conv(wide_in, inner)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _conv(inner, inner, stage.kernel, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = _conv(inner, stage.width)
        self._bn2 = _norm(stage.width)

    def forward(self, features: Tensor) -> Tensor:
        """(b, c, h, w) to (b, c', h/stride, w/stride)."""
        inner = functional.relu6(self._bn0(self._expand_conv(features))) if self.expands else features
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        out = self._bn2(self._project_conv(inner))
        return out + features if self.residual else out


class EfficientNetLite0(nn.Module):
    """The trunk of EfficientNet-Lite0 as a feature pyramid: taps at three depths, laid over one grid of stride 32.

    For films the middle layers say more than the last ones, which know the classes of ImageNet; those are left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _conv(3, _STEM_WIDTH, 3, 2)
        self._bn0 = _norm(_STEM_WIDTH)
        blocks: list[InvertedBottleneck] = []
        width = _STEM_WIDTH
        for stage in STAGES:
            for repeat in range(stage.repeats):
                blocks.append(InvertedBottleneck(width, stage, stage.stride if repeat == 0 else 1))
                width = stage.width
        self._blocks = nn.ModuleList(blocks[: TAPPED_BLOCKS[-1] + 1])
        self.register_buffer("_mean", torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(b, S, S) grey in [0, 1], S a multiple of 32, to (b, n, FEATURE_WIDTH), n = (S / 32) ** 2, row-major."""
        coloured = (images.unsqueeze(1) - self._mean) / self._std
        features = functional.relu6(self._bn0(self._conv_stem(coloured)))
        tapped = []
        for number, block in enumerate(self._blocks):
            features = block(features)
            if number in TAPPED_BLOCKS:
                tapped.append(features)
        side = features.shape[-1]
        level = [functional.avg_pool2d(tap, tap.shape[-1] // side) for tap in tapped]
        return torch.cat(level, dim=1).flatten(2).transpose(1, 2)


class TokenProjection(nn.Module):
    """Standardise trunk features by the training set's statistics, project, normalise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURE_WIDTH))
        self.register_buffer("scale", torch.ones(FEATURE_WIDTH))
        self.linear = nn.Linear(FEATURE_WIDTH, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """(b, n, FEATURE_WIDTH) to (b, n, width)."""
        tokens: Tensor = self.norm(self.linear((features - self.mean) / self.scale))
        return tokens


class Lite0Encoder(nn.Module):
    """Token maker: trunk features, standardised per channel and projected to the token width."""

    def __init__(self, trunk: EfficientNetLite0, project: TokenProjection) -> None:
        super().__init__()
        self.trunk = trunk
        self.project = project

    def forward(self, images: Tensor) -> Tensor:
        """(b, S, S) grey in [0, 1] to tokens (b, n, d)."""
        tokens: Tensor = self.project(self.trunk(images))
        return tokens


def load_imagenet_lite0(state: dict[str, Tensor]) -> EfficientNetLite0:
    """Build the trunk with its published weights; the layers after the last tap are left out.

    Raises RuntimeError (torch) naming every missing or unexpected key.
    """
    net = EfficientNetLite0()
    later = tuple(f"_blocks.{number}." for number in range(TAPPED_BLOCKS[-1] + 1, sum(row.repeats for row in STAGES)))
    dropped = ("_fc.", "_conv_head.", "_bn1.", *later)
    net.load_state_dict({key: value for key, value in state.items() if not key.startswith(dropped)}, strict=True)
    net.eval()
    return net
