"""Reading a published folder, whole or damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.shared.checkpoints import CheckpointError
from models.vlm.checkpoint import INDEX_FILE, as_float32, canonical_name, check_names, open_checkpoint
from models.vlm.sizes import HEAD, TEXT, VISION, infer_vlm_sizes, parse_config
from tests.support.vlm_folder import FIXTURES, write_published, write_safetensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_published(tmp_path / "published")


def _refusal(place: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(place)
    return caught.value


def _config(folder: Path) -> dict[str, object]:
    config: dict[str, object] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def test_shards_and_the_single_file_in_the_other_layout_hold_the_same_tensors(folder: Path) -> None:
    shards, single = open_checkpoint(folder).tensors, open_checkpoint(FIXTURES / "vlm.safetensors").tensors
    assert set(shards) == set(single)
    assert all(np.array_equal(shards[name].read(), single[name].read()) for name in single)


def test_published_names_are_those_that_the_library_writes(folder: Path) -> None:
    weight_map = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))["weight_map"]
    listed = json.loads((FIXTURES / "vlm_published_layout_keys.json").read_text(encoding="utf-8"))
    assert sorted(weight_map) == sorted(listed)
    assert len(set(weight_map.values())) == 3


@pytest.mark.parametrize(
    ("key", "canonical"),
    [
        ("model.visual.ctvit.to_visual_latent.bias", f"{VISION}to_visual_latent.bias"),
        ("visual.ctvit.to_visual_latent.bias", f"{VISION}to_visual_latent.bias"),
        ("model.language_model.norm.weight", f"{TEXT}norm.weight"),
        ("model.norm.weight", f"{TEXT}norm.weight"),
        ("module.model.norm.weight", f"{TEXT}norm.weight"),
        ("lm_head.weight", HEAD),
    ],
)
def test_both_layouts_have_one_name(key: str, canonical: str) -> None:
    assert canonical_name(key) == canonical


def test_bfloat16_is_read_exactly(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 3.0e38, 1e-40], dtype=np.float32)
    held = (values.view(np.uint32) >> 16).astype(np.uint16)
    write_safetensors(tmp_path / "m.safetensors", {"lm_head.weight": ("BF16", held)})
    stored = open_checkpoint(tmp_path / "m.safetensors").tensors[HEAD]
    assert np.array_equal(stored.read_float32().view(np.uint32), held.astype(np.uint32) << 16)


def test_rows_are_read_without_the_rest(folder: Path) -> None:
    stored = open_checkpoint(folder).tensors[HEAD]
    assert np.array_equal(stored.rows(5, 9), stored.read()[5:9])
    assert as_float32(stored.rows(0, 1), stored.dtype).shape == (1, 64)


def test_a_shard_cut_short_is_refused_by_name(folder: Path) -> None:
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-5])
    assert (_refusal(folder).code, _refusal(folder).keys) == ("truncated-file", (shard.name,))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not this", b"\x05\0\0\0\0\0\0\0hello"])
def test_a_file_of_another_kind_is_refused(folder: Path, content: bytes) -> None:
    shard = sorted(folder.glob("*.safetensors"))[0]
    shard.write_bytes(content)
    assert _refusal(folder).code == "not-safetensors"


def test_a_header_that_points_before_the_data_is_refused(tmp_path: Path) -> None:
    raw = json.dumps({"lm_head.weight": {"dtype": "F32", "shape": [1], "data_offsets": [-8, -4]}}).encode()
    (tmp_path / "m.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + b"\0" * 8)
    assert _refusal(tmp_path / "m.safetensors").code == "not-safetensors"


def test_a_shape_that_reaches_beyond_its_own_bytes_is_refused(tmp_path: Path) -> None:
    raw = json.dumps({"lm_head.weight": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "m.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + b"\0" * 64)
    assert _refusal(tmp_path / "m.safetensors").code == "not-safetensors"


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard = sorted(folder.glob("*.safetensors"))[2]
    shard.unlink()
    assert (_refusal(folder).code, _refusal(folder).keys) == ("missing-file", (shard.name,))


def test_a_tensor_that_the_index_promises_and_no_shard_holds_is_named(folder: Path) -> None:
    index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    index["weight_map"]["model.layers.9.extra"] = sorted(folder.glob("*.safetensors"))[0].name
    (folder / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")
    assert (_refusal(folder).code, _refusal(folder).keys) == ("missing-key", ("model.layers.9.extra",))


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": {"a": "../../etc/passwd"}}'])
def test_a_bad_index_is_refused(folder: Path, content: str) -> None:
    (folder / INDEX_FILE).write_text(content, encoding="utf-8")
    assert _refusal(folder).code == "bad-index"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert _refusal(tmp_path).code == "missing-file"


@pytest.mark.parametrize(
    ("shapes", "code"),
    [
        ({}, "missing-key"),
        ({"text.a": (2,), "text.b": (1,)}, "unknown-key"),
        ({"text.a": (3,)}, "wrong-shape"),
        ({"text.a": (2,), "vision.enc.layers.0.1.context_norm.beta": (1,)}, None),
    ],
)
def test_every_tensor_is_accounted_for(shapes: dict[str, tuple[int, ...]], code: str | None) -> None:
    if code is None:
        assert check_names(shapes, {"text.a": (2,)}) == ("vision.enc.layers.0.1.context_norm.beta",)
        return
    with pytest.raises(CheckpointError) as caught:
        check_names(shapes, {"text.a": (2,)})
    assert caught.value.code == code


def test_sizes_come_from_the_weights_and_the_rest_from_the_configuration(folder: Path) -> None:
    sizes = infer_vlm_sizes(open_checkpoint(folder).shapes, parse_config(_config(folder), {}))
    text, tower = sizes.text, sizes.tower
    assert (text.width, text.layers, text.heads, text.kv_heads, text.inner, text.vocabulary) == (64, 2, 4, 2, 128, 320)
    assert (tower.spatial_depth, tower.temporal_depth, tower.experts, tower.heads) == (1, 1, 5, 4)
    assert (sizes.side_px, sizes.grid_side) == (80, 4)
    assert text.frequency_rows == (0, 0, 1, 1, 1, 2, 2, 2)


def test_text_values_may_be_nested_and_rotary_ones_newly_named(folder: Path) -> None:
    flat = _config(folder)
    kept = ("vision_config", "image_token_id", "vision_start_token_id", "vision_end_token_id")
    nested = {key: value for key, value in flat.items() if key not in (*kept, "rope_scaling", "rope_theta")}
    nested["rope_parameters"] = {"mrope_section": [2, 3, 3], "rope_theta": 1000000.0}
    config = {key: flat[key] for key in kept} | {"text_config": nested}
    assert parse_config(config, {}) == parse_config(flat, {})


def test_generation_defaults_say_what_stops_an_answer(folder: Path) -> None:
    config = parse_config(_config(folder), {"eos_token_id": [301, 304], "pad_token_id": 304})
    assert (config.ids.stop, config.ids.pad) == ((301, 304), 304)


def test_a_value_that_is_missing_in_the_configuration_is_named(folder: Path) -> None:
    config = _config(folder)
    del config["image_token_id"]
    with pytest.raises(CheckpointError, match="image_token_id") as caught:
        parse_config(config, {})
    assert caught.value.code == "missing-config"


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_attention_heads", 3), ("rope_scaling", {"mrope_section": [2, 3, 4]}), ("vision_config", {"image_size": 90})],
)
def test_a_configuration_that_does_not_fit_the_weights_is_refused(folder: Path, key: str, value: object) -> None:
    config = parse_config(_config(folder) | {key: value}, {})
    with pytest.raises(CheckpointError) as caught:
        infer_vlm_sizes(open_checkpoint(folder).shapes, config)
    assert caught.value.code == "bad-config"
