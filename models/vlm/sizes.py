"""Shapes of a checkpoint and its configuration enter; the sizes and token ids of a vision language model leave.

What the weights tell is read from the weights; the configuration is asked only for the rest (head count, rotary
sections, ids). The published layout is that of Qwen2.5-VL with CTViT in the vision tower's place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final

from models.shared.checkpoints import CheckpointError, RetrievalSizes

TEXT: Final = "text."  # canonical prefixes, see models.vlm.checkpoint
VISION: Final = "vision."
HEAD: Final = "lm_head.weight"
PUBLISHED_GRID_SIDE: Final = 24  # hard-coded in the research code: 576 image tokens
_DEFAULT_EPS: Final = 1e-6
_SPATIAL: Final = f"{VISION}enc_spatial_transformer.layers"
_TEMPORAL: Final = f"{VISION}enc_temporal_transformer.layers"

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIds:
    """Ids that the prompt is built from and that end an answer."""

    image: int
    vision_start: int
    vision_end: int
    pad: int
    stop: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmConfig:
    """What only the configuration tells. `side_px` None: the published 24 x 24 grid of patches."""

    heads: int
    mrope_sections: tuple[int, ...]
    rope_theta: float
    rms_eps: float
    max_tokens: int
    side_px: int | None
    ids: TokenIds


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSizes:
    """Sizes of the text stack. `mrope_sections`: rotary frequencies that follow time, row and column."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    rms_eps: float
    rope_theta: float
    mrope_sections: tuple[int, ...]

    @property
    def frequency_rows(self) -> tuple[int, ...]:
        """For each of the head_width / 2 rotary frequencies, which of the three position rows turns it."""
        return tuple(row for row, count in enumerate(self.mrope_sections) for _ in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmSizes:
    """Sizes of the whole model. Images are `side_px` wide and become `grid_side` ** 2 tokens."""

    text: TextSizes
    tower: RetrievalSizes
    side_px: int

    @property
    def grid_side(self) -> int:
        """Patches along one side."""
        return self.side_px // self.tower.patch_px


def parse_config(config: Mapping[str, Any], generation: Mapping[str, Any]) -> VlmConfig:
    """Read `config.json` and `generation_config.json`, text values nested (`text_config`) or at the top level.

    Raises CheckpointError: missing-config, bad-config.
    """
    nested = config.get("text_config") or {}

    def value(*names: str) -> Any:
        for name in names:
            for section in (nested, config):
                if section.get(name) is not None:
                    return section[name]
        raise CheckpointError("missing-config", [names[0]])

    rope = value("rope_scaling", "rope_parameters")
    try:
        return VlmConfig(
            heads=int(value("num_attention_heads")),
            mrope_sections=tuple(int(count) for count in rope["mrope_section"]),
            rope_theta=float(rope["rope_theta"] if "rope_theta" in rope else value("rope_theta")),
            rms_eps=float(nested.get("rms_norm_eps", config.get("rms_norm_eps", _DEFAULT_EPS))),
            max_tokens=int(value("max_position_embeddings")),
            side_px=_optional_int((config.get("vision_config") or {}).get("image_size")),
            ids=_token_ids(value, generation),
        )
    except (KeyError, TypeError, ValueError) as exc:
        if isinstance(exc, CheckpointError):
            raise
        raise CheckpointError("bad-config", ["config.json"]) from exc


def infer_vlm_sizes(shapes: Shapes, config: VlmConfig) -> VlmSizes:
    """Sizes from canonical keys and `config`. Raises CheckpointError: missing-key, not-square, bad-config."""
    tower = infer_tower_sizes(shapes)
    side_px = config.side_px or PUBLISHED_GRID_SIDE * tower.patch_px
    if side_px % tower.patch_px:
        raise CheckpointError("bad-config", ["vision_config.image_size"])
    return VlmSizes(text=_text_sizes(shapes, config), tower=tower, side_px=side_px)


def infer_tower_sizes(shapes: Shapes) -> RetrievalSizes:
    """Sizes of the vision tower; its layers are counted. Raises CheckpointError: missing-key, not-square."""
    area = _shape(shapes, f"{VISION}to_patch_emb_first_frame.1.weight")[0]
    patch_px = isqrt(area)
    if patch_px * patch_px != area:
        raise CheckpointError("not-square", [f"{VISION}to_patch_emb_first_frame.1.weight"])
    head_width = _shape(shapes, f"{_SPATIAL}.0.1.q_scale")[0]
    return RetrievalSizes(
        width=_shape(shapes, f"{VISION}to_patch_emb.2.weight")[0],
        heads=_shape(shapes, f"{_SPATIAL}.0.1.to_q.weight")[0] // head_width,
        head_width=head_width,
        patch_px=patch_px,
        temporal_patch=_shape(shapes, f"{VISION}to_patch_emb.1.weight")[0] // area,
        spatial_depth=_count(shapes, _SPATIAL),
        temporal_depth=_count(shapes, _TEMPORAL),
        experts=_count(shapes, f"{_SPATIAL}.0.3.experts"),
        expert_inner=_shape(shapes, f"{_SPATIAL}.0.3.experts.0.4.weight")[1],
        modality_rows=_shape(shapes, f"{VISION}modal_embeddings.weight")[0],
        condition_rows=0,  # the tower has no conditions, fusion or retrieval embedding
        fusion_layers=0,
        fusion_inner=0,
        embedding_width=0,
    )


def _text_sizes(shapes: Shapes, config: VlmConfig) -> TextSizes:
    layer = f"{TEXT}layers.0."
    vocabulary, width = _shape(shapes, f"{TEXT}embed_tokens.weight")
    query_rows = _shape(shapes, f"{layer}self_attn.q_proj.weight")[0]
    head_width = query_rows // config.heads
    if head_width * config.heads != query_rows:
        raise CheckpointError("bad-config", ["num_attention_heads"])
    if len(config.mrope_sections) != 3 or 2 * sum(config.mrope_sections) != head_width:
        raise CheckpointError("bad-config", ["mrope_section"])
    kv_heads = _shape(shapes, f"{layer}self_attn.k_proj.weight")[0] // head_width
    if not kv_heads or config.heads % kv_heads:
        raise CheckpointError("bad-config", ["num_attention_heads"])
    return TextSizes(
        width=width,
        layers=_count(shapes, f"{TEXT}layers"),
        heads=config.heads,
        kv_heads=kv_heads,
        head_width=head_width,
        inner=_shape(shapes, f"{layer}mlp.gate_proj.weight")[0],
        vocabulary=vocabulary,
        rms_eps=config.rms_eps,
        rope_theta=config.rope_theta,
        mrope_sections=config.mrope_sections,
    )


def _token_ids(value: Any, generation: Mapping[str, Any]) -> TokenIds:
    stop = generation.get("eos_token_id")
    stop = value("eos_token_id") if stop is None else stop
    stops = tuple(int(token) for token in (stop if isinstance(stop, list) else [stop]))
    pad = generation.get("pad_token_id")
    return TokenIds(
        image=int(value("image_token_id")),
        vision_start=int(value("vision_start_token_id")),
        vision_end=int(value("vision_end_token_id")),
        pad=int(stops[-1] if pad is None else pad),
        stop=stops,
    )


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _shape(shapes: Shapes, key: str) -> tuple[int, ...]:
    try:
        return shapes[key]
    except KeyError:
        raise CheckpointError("missing-key", [key]) from None


def _count(keys: Iterable[str], prefix: str) -> int:
    """One more than the highest number that follows `prefix.` in any key."""
    rests = (key.removeprefix(f"{prefix}.").partition(".")[0] for key in keys if key.startswith(f"{prefix}."))
    return max((int(rest) for rest in rests if rest.isdecimal()), default=-1) + 1
