"""Opening a bundle of kind "vlm"."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.shared.bundle_files import METADATA_FILE, BundleError, BundleErrorCode, write_sums
from models.vlm.bundle import open_vlm_bundle
from models.vlm.onnx_engine import load_vlm_engine
from tests.support.vlm_folder import BUNDLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    return tmp_path / "bundle"


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    metadata = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    change(metadata["interval"])
    (folder / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    write_sums(folder)


def test_a_bundle_says_what_it_takes(folder: Path) -> None:
    bundle = open_vlm_bundle(folder)
    assert [(f.modality, f.router, f.depth) for f in bundle.info.families] == [
        ("2D-CXR", 1, 1),
        ("2D-Ultrasound", 1, 1),
        ("3D-CT", 0, 240),
        ("3D-Brain-MRI", 2, 30),
    ]
    assert (bundle.info.input_side_px, bundle.info.grid_side, bundle.info.max_tokens) == (80, 4, 512)
    assert bundle.info.bundle_id == f"fixture-vlm-{bundle.info.bundle_sha256[:12]}"


@pytest.mark.parametrize("name", ["models/decoder.onnx.data", "models/embed_tokens.bin", "tokenizer/vocab.json"])
def test_a_changed_file_is_refused_by_name(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        open_vlm_bundle(folder)
    assert (caught.value.code, caught.value.subject) == (BundleErrorCode.HASH_MISMATCH, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda section: section.update(kind="retrieval"),
        lambda section: section.update(schema=3),
        lambda section: section["ids"].pop("image"),
        lambda section: section["graphs"].update(decoder="../decoder.onnx"),
        lambda section: section["embedding"].update(shape=[3]),
    ],
)
def test_metadata_that_cannot_be_right_are_refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    _edit(folder, change)
    with pytest.raises(BundleError) as caught:
        open_vlm_bundle(folder)
    assert caught.value.code is BundleErrorCode.BAD_METADATA


def test_a_graph_that_the_metadata_name_and_nobody_wrote_is_refused(folder: Path) -> None:
    _edit(folder, lambda section: section["graphs"].update(decoder="models/other.onnx"))
    with pytest.raises(BundleError) as caught:
        open_vlm_bundle(folder)
    assert caught.value.code is BundleErrorCode.MISSING_FILE


@pytest.mark.parametrize("name", ["models/decoder.onnx", "models/vision-ct.onnx"])
def test_a_graph_that_is_none_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"not a graph")
    write_sums(folder)
    with pytest.raises(BundleError) as caught:
        load_vlm_engine(folder)
    assert (caught.value.code, caught.value.subject) == (BundleErrorCode.BAD_GRAPH, Path(name).name)


def test_a_tokeniser_of_another_model_is_refused(folder: Path) -> None:
    _edit(folder, lambda section: section["ids"].update(vision_start=300))
    with pytest.raises(BundleError, match="tokeniser"):
        load_vlm_engine(folder)


def test_an_embedding_table_of_another_size_is_refused(folder: Path) -> None:
    _edit(folder, lambda section: section["embedding"].update(shape=[319, 64]))
    with pytest.raises(BundleError, match=r"embed_tokens\.bin"):
        load_vlm_engine(folder)
