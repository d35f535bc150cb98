"""What a retrieval checkpoint holds: its keys and shapes enter; sizes, and which keys are used, leave.

A key that is neither needed nor known to be unused is reported, never silently skipped: a wrong file must not load.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Final, TypeVar

_T = TypeVar("_T")

FUSION_HEADS: Final = 8  # hard-coded in the research code, not recoverable from the weights
RERANK_HEADS: Final = 8  # as above
RERANK_TOP_K: Final = 128  # as above: tokens that a side of the reranker takes
POSITION_GRID: Final = (24, 24)  # as above; smaller grids take its first rows

RERANK_PREFIX: Final = "rank_module."
_KNOWN_UNUSED: Final = re.compile(
    r"text_transformer\..+|to_text_latent\.weight|cls_token|log_temperature|temperature"
    r"|(to_visual_latent\.[013]|rank_classifier\.[03]|fusion_module\.layers\.\d+\.norm1)\.(weight|bias)"
    r"|visual_transformer\.enc_(spatial|temporal)_transformer\.layers\.\d+\.1\.context_norm\.(gamma|beta)"
    r"|visual_transformer\.vq\._codebook\.(initted|cluster_size|embed)"
    r"|visual_transformer\.to_pixels(_first_frame)?\.0\.(weight|bias)"
)
_SPATIAL: Final = "visual_transformer.enc_spatial_transformer.layers"
_TEMPORAL: Final = "visual_transformer.enc_temporal_transformer.layers"
_FUSION: Final = "fusion_module.layers"


class CheckpointError(ValueError):
    """Not a retrieval checkpoint of the expected make. `code` says why, `keys` names the culprits."""

    def __init__(self, code: str, keys: Iterable[str] = ()) -> None:
        self.code = code
        self.keys = tuple(sorted(keys))
        shown = ", ".join(self.keys[:5]) + (", ..." if len(self.keys) > 5 else "")
        super().__init__(f"{code}: {shown}" if shown else code)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankSizes:
    """Sizes of a reranker, as inferred from its weights; its width and number of experts are the model's."""

    layers: int
    inner: int
    head_inner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSizes:
    """Sizes of a retrieval model, as inferred from its weights. `rerank` is None where there is no reranker."""

    width: int
    heads: int
    head_width: int
    patch_px: int
    temporal_patch: int
    spatial_depth: int
    temporal_depth: int
    experts: int
    expert_inner: int
    modality_rows: int
    condition_rows: int
    fusion_layers: int
    fusion_inner: int
    embedding_width: int
    rerank: RerankSizes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """Keys of a checkpoint by what becomes of them. A strict import demands that `missing` and `unknown` are empty."""

    used: tuple[str, ...]
    known_unused: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]


def strip_module_prefix(state: Mapping[str, _T]) -> dict[str, _T]:
    """State dict without the `module.` that a data-parallel wrapper puts before every key."""
    return {key.removeprefix("module."): value for key, value in state.items()}


def report_keys(present: Iterable[str], needed: Iterable[str]) -> KeyReport:
    """Sort the keys of a file into used, known to be unused, unknown, and missing."""
    have, need = set(present), set(needed)
    rest = have - need
    unused = {key for key in rest if _KNOWN_UNUSED.fullmatch(key)}
    return KeyReport(
        used=tuple(sorted(have & need)),
        known_unused=tuple(sorted(unused)),
        missing=tuple(sorted(need - have)),
        unknown=tuple(sorted(rest - unused)),
    )


def infer_sizes(shapes: Mapping[str, tuple[int, ...]]) -> RetrievalSizes:
    """Sizes from the shapes of a retrieval state dict. Raises CheckpointError: missing-key, not-square, wrong-shape."""

    def side(key: str, axis: int = 0) -> int:
        return _side(shapes, key, axis)

    patch_area = side("visual_transformer.to_patch_emb_first_frame.1.weight")
    patch_px = isqrt(patch_area)
    if patch_px * patch_px != patch_area:
        raise CheckpointError("not-square", ["visual_transformer.to_patch_emb_first_frame.1.weight"])
    head_width = side(f"{_SPATIAL}.0.1.q_scale")
    return RetrievalSizes(
        width=side("visual_transformer.to_patch_emb.2.weight"),
        heads=side(f"{_SPATIAL}.0.1.to_q.weight") // head_width,
        head_width=head_width,
        patch_px=patch_px,
        temporal_patch=side("visual_transformer.to_patch_emb.1.weight") // patch_area,
        spatial_depth=_count(shapes, _SPATIAL),
        temporal_depth=_count(shapes, _TEMPORAL),
        experts=_count(shapes, f"{_SPATIAL}.0.3.experts"),
        expert_inner=side(f"{_SPATIAL}.0.3.experts.0.4.weight", 1),
        modality_rows=side("visual_transformer.modal_embeddings.weight"),
        condition_rows=side("condition_embeddings.weight"),
        fusion_layers=_count(shapes, _FUSION),
        fusion_inner=side(f"{_FUSION}.0.moe_ffn.experts.0.3.weight", 1),
        embedding_width=side("to_fused_latent.weight"),
        rerank=_infer_rerank(shapes),
    )


def _infer_rerank(shapes: Mapping[str, tuple[int, ...]]) -> RerankSizes | None:
    if not any(key.startswith(RERANK_PREFIX) for key in shapes):
        return None
    layers = f"{RERANK_PREFIX}layers"
    return RerankSizes(
        layers=max(1, _count(shapes, layers)),  # without any, the keys of the first are reported as missing
        inner=_side(shapes, f"{layers}.0.moe_ffn.experts.0.3.weight", 1),
        head_inner=_side(shapes, f"{RERANK_PREFIX}classifier_moe.experts.0.3.weight", 1),
    )


def _side(shapes: Mapping[str, tuple[int, ...]], key: str, axis: int) -> int:
    if key not in shapes:
        raise CheckpointError("missing-key", [key])
    if len(shapes[key]) <= axis or not shapes[key][axis]:
        raise CheckpointError("wrong-shape", [key])
    return shapes[key][axis]


def _count(keys: Iterable[str], prefix: str) -> int:
    """One more than the highest number that follows `prefix.` in any key."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    numbers = [int(match.group(1)) for key in keys if (match := pattern.match(key))]
    return max(numbers, default=-1) + 1
