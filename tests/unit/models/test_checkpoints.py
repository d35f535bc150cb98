"""Sizes and keys of a retrieval checkpoint, from its header alone."""

import json
import struct
from pathlib import Path

import pytest

from models.shared.checkpoints import (
    CheckpointError,
    RerankSizes,
    RetrievalSizes,
    infer_sizes,
    report_keys,
    strip_module_prefix,
)

CHECKPOINT = Path(__file__).parents[2] / "fixtures" / "medreco_parity" / "retrieval.safetensors"


def _shapes() -> dict[str, tuple[int, ...]]:
    with CHECKPOINT.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {key: tuple(entry["shape"]) for key, entry in header.items() if key != "__metadata__"}


def test_sizes_are_inferred_from_the_weights() -> None:
    assert infer_sizes(_shapes()) == RetrievalSizes(
        width=64,
        heads=4,
        head_width=16,
        patch_px=20,
        temporal_patch=10,
        spatial_depth=2,
        temporal_depth=2,
        experts=5,
        expert_inner=170,
        modality_rows=10,
        condition_rows=400,
        fusion_layers=3,
        fusion_inner=170,
        embedding_width=64,
        rerank=RerankSizes(layers=3, inner=170, head_inner=85),
    )


def test_a_checkpoint_without_a_reranker_has_no_sizes_of_one() -> None:
    shapes = {key: shape for key, shape in _shapes().items() if not key.startswith("rank_module.")}
    assert infer_sizes(shapes).rerank is None


def test_a_reranker_without_its_head_is_named_as_incomplete() -> None:
    shapes = {key: shape for key, shape in _shapes().items() if "classifier_moe" not in key}
    with pytest.raises(CheckpointError) as caught:
        infer_sizes(shapes)
    assert caught.value.keys == ("rank_module.classifier_moe.experts.0.3.weight",)


def test_a_tensor_with_too_few_axes_is_named() -> None:
    key = "fusion_module.layers.0.moe_ffn.experts.0.3.weight"
    with pytest.raises(CheckpointError, match="wrong-shape") as caught:
        infer_sizes(_shapes() | {key: (64,)})
    assert caught.value.keys == (key,)


def test_a_missing_key_is_named() -> None:
    shapes = _shapes()
    del shapes["to_fused_latent.weight"]
    with pytest.raises(CheckpointError) as caught:
        infer_sizes(shapes)
    assert (caught.value.code, caught.value.keys) == ("missing-key", ("to_fused_latent.weight",))


def test_patches_that_are_not_square_are_refused() -> None:
    shapes = _shapes() | {"visual_transformer.to_patch_emb_first_frame.1.weight": (401,)}
    with pytest.raises(CheckpointError, match="not-square"):
        infer_sizes(shapes)


def test_every_key_is_accounted_for() -> None:
    needed = ["condition_embeddings.weight", "rank_module.cls_emb"]
    report = report_keys([*needed, "cls_token", "rank_module.surprise", "surprise"], needed)
    assert report.used == ("condition_embeddings.weight", "rank_module.cls_emb")
    assert report.known_unused == ("cls_token",)
    assert report.unknown == ("rank_module.surprise", "surprise")


@pytest.mark.parametrize(
    "key",
    [
        "text_transformer.encoder.layer.11.attention.attn.q.weight",
        "to_text_latent.weight",
        "cls_token",
        "log_temperature",
        "temperature",
        "to_visual_latent.3.bias",
        "rank_classifier.0.weight",
        "visual_transformer.enc_temporal_transformer.layers.3.1.context_norm.beta",
        "fusion_module.layers.2.norm1.bias",
        "visual_transformer.vq._codebook.cluster_size",
        "visual_transformer.to_pixels_first_frame.0.weight",
        "visual_transformer.to_pixels.0.bias",
    ],
)
def test_what_a_published_checkpoint_has_and_retrieval_leaves_is_known(key: str) -> None:
    assert report_keys([key], []).known_unused == (key,)
    assert report_keys([f"{key}.more"], []).known_unused == (() if not key.startswith("text") else (f"{key}.more",))


def test_a_needed_key_that_is_absent_is_reported() -> None:
    assert report_keys([], ["to_fused_latent.weight"]).missing == ("to_fused_latent.weight",)


def test_the_prefix_of_a_data_parallel_wrapper_is_stripped() -> None:
    assert strip_module_prefix({"module.a.module.b": 1, "c": 2}) == {"a.module.b": 1, "c": 2}
