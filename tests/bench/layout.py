"""Nothing enters; every entry of the published retrieval checkpoint leaves: its key, its shape and what it starts from.

Sizes are the published ones, unless other ones are given; the tables follow sections 1.1 and 1.9 of the specification.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

EXPERTS: Final = 5
CONDITION_ROWS: Final = 400
MODALITY_ROWS: Final = 10


class Start(Enum):
    """What an entry is filled with: weights are drawn, norms start near one, biases near zero."""

    WEIGHT = "weight"
    ROWS = "rows"
    NORM = "norm"
    BIAS = "bias"
    SCALAR = "scalar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of the checkpoint; `double` marks the only one that is stored as float64."""

    key: str
    shape: tuple[int, ...]
    start: Start = Start.WEIGHT
    double: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSizes:
    """Sizes of the published retrieval model (section 1.1)."""

    width: int = 512
    heads: int = 8
    head_width: int = 32
    patch_px: int = 20
    temporal_patch: int = 10
    spatial_depth: int = 8
    temporal_depth: int = 4
    inner: int = 1365
    head_inner: int = 682
    decoder_layers: int = 3
    codebook_rows: int = 8192
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_inner: int = 3072
    vocabulary: int = 30527
    text_positions: int = 514

    @property
    def visual_inner(self) -> int:
        """Inner width of the disabled visual projection."""
        return 2 * self.width


PUBLISHED: Final = PublishedSizes()
SMALL: Final = PublishedSizes(
    width=64,
    heads=4,
    head_width=16,
    spatial_depth=2,
    temporal_depth=2,
    inner=170,
    head_inner=85,
    codebook_rows=16,
    text_width=32,
    text_layers=1,
    text_heads=2,
    text_inner=48,
    vocabulary=64,
    text_positions=40,
)
"""Those of tests/fixtures/medreco_parity."""


def entries(sizes: PublishedSizes = PUBLISHED, *, text: bool = True) -> Iterator[Entry]:
    """Every entry of the checkpoint, the unused ones too; without `text`, those of the text encoder are left out."""
    if text:
        yield from _text_encoder(sizes)
    yield from _vision(sizes)
    yield from _fusion(sizes)
    yield from _reranker(sizes)
    yield from _heads(sizes)


def _linear(key: str, rows: int, columns: int) -> Iterator[Entry]:
    yield Entry(key=f"{key}.weight", shape=(rows, columns))
    yield Entry(key=f"{key}.bias", shape=(rows,), start=Start.BIAS)


def _norm(key: str, width: int) -> Iterator[Entry]:
    yield Entry(key=f"{key}.weight", shape=(width,), start=Start.NORM)
    yield Entry(key=f"{key}.bias", shape=(width,), start=Start.BIAS)


def _gamma_beta(key: str, width: int) -> Iterator[Entry]:
    yield Entry(key=f"{key}.gamma", shape=(width,), start=Start.NORM)
    yield Entry(key=f"{key}.beta", shape=(width,), start=Start.BIAS)


def _vision(sizes: PublishedSizes) -> Iterator[Entry]:
    root, width = "visual_transformer", sizes.width
    flat = sizes.patch_px**2
    for name, pixels, length in (
        ("to_patch_emb_first_frame", "to_pixels_first_frame", flat),
        ("to_patch_emb", "to_pixels", sizes.temporal_patch * flat),
    ):
        yield from _norm(f"{root}.{name}.1", length)
        yield from _linear(f"{root}.{name}.2", width, length)
        yield from _norm(f"{root}.{name}.3", width)
        yield from _linear(f"{root}.{pixels}.0", length, width)
    yield Entry(key=f"{root}.modal_embeddings.weight", shape=(MODALITY_ROWS, width), start=Start.ROWS)
    for name, axes in (("spatial_rel_pos_bias", 2), ("deptial_rel_pos_bias", 1)):
        yield from _linear(f"{root}.{name}.net.0.0", width, axes)
        yield from _linear(f"{root}.{name}.net.1.0", width, width)
        yield from _linear(f"{root}.{name}.net.2", sizes.heads, width)
    for name, depth in (
        ("enc_spatial_transformer", sizes.spatial_depth),
        ("enc_temporal_transformer", sizes.temporal_depth),
    ):
        for layer in range(depth):
            yield from _encoder_layer(f"{root}.{name}.layers.{layer}", sizes)
        yield from _gamma_beta(f"{root}.{name}.norm_out", width)
    book = f"{root}.vq._codebook"
    yield Entry(key=f"{book}.initted", shape=(1,), start=Start.NORM)
    yield Entry(key=f"{book}.cluster_size", shape=(1, sizes.codebook_rows), start=Start.ROWS)
    yield Entry(key=f"{book}.embed", shape=(1, sizes.codebook_rows, width), start=Start.ROWS)


def _encoder_layer(key: str, sizes: PublishedSizes) -> Iterator[Entry]:
    width, inner = sizes.width, sizes.heads * sizes.head_width
    yield Entry(key=f"{key}.0.dsconv.weight", shape=(width, 1, 3, 3, 3))
    yield Entry(key=f"{key}.0.dsconv.bias", shape=(width,), start=Start.BIAS)
    yield Entry(key=f"{key}.1.null_kv", shape=(sizes.heads, 2, sizes.head_width), start=Start.ROWS)
    yield Entry(key=f"{key}.1.q_scale", shape=(sizes.head_width,), start=Start.NORM)
    yield Entry(key=f"{key}.1.k_scale", shape=(sizes.head_width,), start=Start.NORM)
    yield from _gamma_beta(f"{key}.1.norm", width)
    yield from _gamma_beta(f"{key}.1.context_norm", width)
    yield Entry(key=f"{key}.1.to_q.weight", shape=(inner, width))
    yield Entry(key=f"{key}.1.to_kv.weight", shape=(2 * inner, width))
    yield Entry(key=f"{key}.1.to_out.weight", shape=(width, inner))
    for expert in range(EXPERTS):
        yield from _norm(f"{key}.3.experts.{expert}.0", width)
        yield Entry(key=f"{key}.3.experts.{expert}.1.weight", shape=(2 * sizes.inner, width))
        yield Entry(key=f"{key}.3.experts.{expert}.4.weight", shape=(width, sizes.inner))


def _fusion(sizes: PublishedSizes) -> Iterator[Entry]:
    for layer in range(sizes.decoder_layers):
        key = f"fusion_module.layers.{layer}"
        yield from _packed_attention(f"{key}.multihead_attn", sizes.width)
        for norm in ("norm1", "norm2", "norm3"):
            yield from _norm(f"{key}.{norm}", sizes.width)
        yield from _experts(f"{key}.moe_ffn", sizes.width, sizes.inner)
    yield from _norm("fusion_module.norm", sizes.width)


def _reranker(sizes: PublishedSizes) -> Iterator[Entry]:
    width = sizes.width
    for name in ("cls_emb", "sep_token"):
        yield Entry(key=f"rank_module.{name}", shape=(1, 1, width), start=Start.ROWS)
    yield Entry(key="rank_module.segment_emb.weight", shape=(2, width), start=Start.ROWS)
    for layer in range(sizes.decoder_layers):
        key = f"rank_module.layers.{layer}"
        yield from _packed_attention(f"{key}.self_attn", width)
        for norm in ("norm1", "norm2"):
            yield from _norm(f"{key}.{norm}", width)
        yield from _experts(f"{key}.moe_ffn", width, sizes.inner)
    yield from _experts("rank_module.classifier_moe", width, sizes.head_inner)
    yield from _linear("rank_module.classifier_out", 1, width)
    yield from _linear("rank_classifier.0", width, width)
    yield from _linear("rank_classifier.3", 1, width)


def _packed_attention(key: str, width: int) -> Iterator[Entry]:
    yield Entry(key=f"{key}.in_proj_weight", shape=(3 * width, width))
    yield Entry(key=f"{key}.in_proj_bias", shape=(3 * width,), start=Start.BIAS)
    yield from _linear(f"{key}.out_proj", width, width)


def _experts(key: str, width: int, inner: int) -> Iterator[Entry]:
    for expert in range(EXPERTS):
        yield Entry(key=f"{key}.experts.{expert}.0.weight", shape=(2 * inner, width))
        yield Entry(key=f"{key}.experts.{expert}.3.weight", shape=(width, inner))


def _heads(sizes: PublishedSizes) -> Iterator[Entry]:
    width, wide = sizes.width, sizes.visual_inner
    yield Entry(key="condition_embeddings.weight", shape=(CONDITION_ROWS, width), start=Start.ROWS)
    yield Entry(key="to_fused_latent.weight", shape=(width, width))
    yield Entry(key="to_text_latent.weight", shape=(width, sizes.text_width))
    yield from _linear("to_visual_latent.0", wide, width)
    yield from _norm("to_visual_latent.1", wide)
    yield from _linear("to_visual_latent.3", width, wide)
    yield from _linear("abnormal_exist_classifier", 1, width)
    yield Entry(key="cls_token", shape=(1, 1, width), start=Start.ROWS)
    yield Entry(key="temperature", shape=(), start=Start.SCALAR)
    yield Entry(key="log_temperature", shape=(), start=Start.SCALAR, double=True)


def _text_encoder(sizes: PublishedSizes) -> Iterator[Entry]:
    root, width = "text_transformer", sizes.text_width
    for name, rows in (("word", sizes.vocabulary), ("position", sizes.text_positions)):
        yield Entry(key=f"{root}.embeddings.{name}_embeddings.weight", shape=(rows, width), start=Start.ROWS)
    yield from _norm(f"{root}.embeddings.LayerNorm", width)
    for layer in range(sizes.text_layers):
        key = f"{root}.encoder.layer.{layer}"
        for part in "qkvo":
            yield from _linear(f"{key}.attention.attn.{part}", width, width)
        yield from _norm(f"{key}.attention.LayerNorm", width)
        yield from _linear(f"{key}.intermediate.dense", sizes.text_inner, width)
        yield from _linear(f"{key}.output.dense", width, sizes.text_inner)
        yield from _norm(f"{key}.output.LayerNorm", width)
    key = f"{root}.encoder.relative_attention_bias.weight"
    yield Entry(key=key, shape=(32, sizes.text_heads), start=Start.ROWS)
    yield from _linear(f"{root}.pooler.dense", width, width)
