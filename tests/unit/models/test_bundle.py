"""Opening a bundle folder: what is verified, what is refused and by which code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from models.encoder.bundle import ENCODER_FILE, MANIFEST_FILE, open_bundle
from models.encoder.engine import FamilyNotServedError
from models.shared.bundle_files import METADATA_FILE, SUMS_FILE, BundleError, BundleErrorCode, write_sums
from tests.support.bundles import entity_row, write_bundle


def test_a_bundle_tells_what_it_serves(tmp_path: Path) -> None:
    info = open_bundle(write_bundle(tmp_path)).info
    films = info.family("2D-CXR")
    assert [entity.index for entity in films.entities] == [12, 35]
    assert films.bundle_id == info.bundle_id == f"fixture-{info.bundle_sha256[:12]}"
    assert (films.token_count, films.dicom_modalities, films.router) == (16, ("CR", "DX"), 1)
    assert (films.input_shape, films.rerank_top_k) == ((80, 80), None)


def test_an_entity_nobody_measured_has_no_cuts(tmp_path: Path) -> None:
    blank = dict.fromkeys(("threshold_present", "threshold_absent", "calibration", "auroc", "auroc_lo", "auroc_hi"))
    (family,) = open_bundle(write_bundle(tmp_path, entity_row(12) | blank, entity_row(35))).info.families
    assert [entity.measured is None for entity in family.entities] == [True, False]


def test_a_modality_without_a_family_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path))
    with pytest.raises(FamilyNotServedError, match="3D-CT"):
        bundle.info.family("3D-CT")
    with pytest.raises(FamilyNotServedError, match="3D-CT"):
        bundle.family("3D-CT")


@pytest.mark.parametrize(
    "change",
    [
        {"families": []},
        {"kind": "vlm"},
        {"schema": 3},
    ],
    ids=["no family", "a language model", "a later schema"],
)
def test_a_section_that_is_not_ours_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="bad-metadata"):
        open_bundle(write_bundle(tmp_path, **change))


def test_a_graph_outside_the_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.onnx").write_bytes(b"graph")
    folder = write_bundle(tmp_path / "bundle")
    metadata = json.loads((folder / METADATA_FILE).read_text())
    metadata["interval"]["families"][0]["graphs"]["encoder"] = "../outside.onnx"
    (folder / METADATA_FILE).write_text(json.dumps(metadata))
    write_sums(folder)
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert caught.value.code is BundleErrorCode.MISSING_FILE


def test_the_bundle_hash_changes_with_any_file(tmp_path: Path) -> None:
    before = open_bundle(write_bundle(tmp_path)).info.bundle_sha256
    (tmp_path / MANIFEST_FILE).write_text("image,patient,sha256,split\n")
    write_sums(tmp_path)
    assert open_bundle(tmp_path).info.bundle_sha256 != before


def _flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / ENCODER_FILE).read_bytes())
    content[100] ^= 1
    (folder / ENCODER_FILE).write_bytes(content)


def _garble_metadata(folder: Path) -> None:
    (folder / METADATA_FILE).write_bytes(b"\xff{")
    write_sums(folder)


def _climb_out(folder: Path) -> None:
    (folder / SUMS_FILE).write_text("0" * 64 + "  ../outside\n")


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (_flip_a_byte, BundleErrorCode.HASH_MISMATCH),
        (lambda folder: (folder / SUMS_FILE).unlink(), BundleErrorCode.MISSING_FILE),
        (lambda folder: (folder / ENCODER_FILE).unlink(), BundleErrorCode.MISSING_FILE),
        (lambda folder: (folder / "stowaway.txt").write_text("x"), BundleErrorCode.UNLISTED_FILE),
        (lambda folder: (folder / SUMS_FILE).write_text("not a list\n"), BundleErrorCode.BAD_SUMS),
        (_climb_out, BundleErrorCode.BAD_SUMS),
        (_garble_metadata, BundleErrorCode.BAD_METADATA),
    ],
)
def test_a_damaged_bundle_is_refused_by_code(
    harm: Callable[[Path], object], code: BundleErrorCode, tmp_path: Path
) -> None:
    harm(write_bundle(tmp_path))
    with pytest.raises(BundleError) as caught:
        open_bundle(tmp_path)
    assert caught.value.code is code


@pytest.mark.parametrize(
    "row",
    [
        entity_row(12, name="Effusion"),
        entity_row(12) | {"index": 100},
        entity_row(12) | {"index": 99},
        entity_row(12, threshold_absent=0.8),
        entity_row(12, threshold_present=1.5),
        entity_row(12, calibration={}),
    ],
    ids=["other name", "other modality", "no such entity", "cuts crossed", "cut above 1", "no calibration"],
)
def test_metadata_that_contradict_themselves_are_refused(row: dict[str, object], tmp_path: Path) -> None:
    write_bundle(tmp_path, row)
    with pytest.raises(BundleError) as caught:
        open_bundle(tmp_path)
    assert caught.value.code is BundleErrorCode.BAD_METADATA


def test_metadata_without_our_section_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    (tmp_path / METADATA_FILE).write_text(json.dumps({"name": "x", "version": "1"}))
    write_sums(tmp_path)
    with pytest.raises(BundleError, match="bad-metadata"):
        open_bundle(tmp_path)
