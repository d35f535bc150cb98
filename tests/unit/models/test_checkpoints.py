"""Sizes and keys of a retrieval checkpoint, from its header alone."""

import json
import struct
from pathlib import Path

import pytest

from models.shared.checkpoints import CheckpointError, RetrievalSizes, infer_sizes, report_keys, strip_module_prefix

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
    )


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


def test_every_key_of_a_real_checkpoint_is_accounted_for() -> None:
    needed = {key for key in _shapes() if key.startswith("condition_embeddings")}
    report = report_keys(["condition_embeddings.weight", "cls_token", "rank_module.cls_emb", "surprise"], needed)
    assert report.used == ("condition_embeddings.weight",)
    assert report.known_unused == ("cls_token",)
    assert report.rerank == ("rank_module.cls_emb",)
    assert report.unknown == ("surprise",)


def test_a_needed_key_that_is_absent_is_reported() -> None:
    assert report_keys([], ["to_fused_latent.weight"]).missing == ("to_fused_latent.weight",)


def test_the_prefix_of_a_data_parallel_wrapper_is_stripped() -> None:
    assert strip_module_prefix({"module.a.module.b": 1, "c": 2}) == {"a.module.b": 1, "c": 2}
