"""From the files of a series to its volume: order, duplicates, gaps, tilt, mixtures, damage."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from models.shared.volumes import (
    NoteCode,
    Volume,
    VolumeError,
    VolumeErrorCode,
    VolumeLimits,
    read_volume,
    scan_files,
)
from tests.support.objects import save, seeded_uid, truncated
from tests.support.volumes import CT_BOX, MR_BOX, SAGITTAL, BoxPhantom, Grid, ct_series, enhanced, mr_series, save_all

GRID = Grid(slices=12, step_mm=8.0, rows=20, columns=16)


def volume_of(paths: list[Path], modality: str = "CT", limits: VolumeLimits | None = None) -> Volume:
    """Read the one series that the files hold."""
    (series,) = scan_files(paths).series
    return read_volume(series.slices, modality, limits=limits or VolumeLimits())


def notes_of(volume: Volume) -> dict[NoteCode, int]:
    return {note.code: note.count for note in volume.notes}


def refusal(paths: list[Path], modality: str = "CT") -> VolumeError:
    with pytest.raises(VolumeError) as caught:
        volume_of(paths, modality)
    return caught.value


def expected_voxels(grid: Grid, phantom: BoxPhantom = CT_BOX) -> np.ndarray:
    offsets = sorted(grid.offsets_mm)
    return np.stack([np.rint(phantom(grid.points(offset))) for offset in offsets])


def test_slices_are_ordered_by_their_place_whatever_their_order_and_numbers(tmp_path: Path) -> None:
    objects = ct_series(grid=GRID)
    for number, ds in enumerate(objects):
        ds.InstanceNumber = str((number * 7) % 12)
    volume = volume_of(save_all(objects, tmp_path, order=[5, 0, 11, 3, 1, 2, 10, 4, 9, 6, 8, 7]))
    assert (volume.voxels == expected_voxels(GRID)).all()
    assert notes_of(volume) == {}
    assert [source.instance_uid for source in volume.geometry.sources] == [ds.SOPInstanceUID for ds in objects]


def test_geometry_is_the_headers_own(tmp_path: Path) -> None:
    grid = replace(GRID, orientation=SAGITTAL, centre_mm=(10.0, -20.0, 30.0), spacing_mm=(4.0, 3.0))
    geometry = volume_of(save_all(ct_series(grid=grid), tmp_path)).geometry
    assert geometry.spacing_mm == pytest.approx((8.0, 4.0, 3.0))
    assert geometry.origin_lps_mm == pytest.approx(grid.position(grid.offsets_mm[0]))
    place = geometry.origin_lps_mm + np.array([5 * 8.0, 7 * 4.0, 9 * 3.0]) @ geometry.axes_lps
    assert place == pytest.approx(grid.points(grid.offsets_mm[5])[7, 9])


def test_rescale_of_every_slice_is_its_own(tmp_path: Path) -> None:
    objects = ct_series(grid=GRID)
    objects[4].RescaleIntercept = "-1000"
    volume = volume_of(save_all(objects, tmp_path))
    assert (volume.voxels[4] == expected_voxels(GRID)[4] + 24).all()


def test_padding_of_a_ct_is_air(tmp_path: Path) -> None:
    objects = ct_series(grid=GRID)
    for ds in objects:
        pixels = ds.pixel_array.copy()
        pixels[0] = -2000
        ds.PixelData, ds.PixelPaddingValue = pixels.tobytes(), -2000
    volume = volume_of(save_all(objects, tmp_path))
    assert (volume.voxels[:, 0] == -1000).all()
    assert (volume.voxels[:, 1:] == expected_voxels(GRID)[:, 1:]).all()


def test_slices_sent_twice_are_dropped_and_counted(tmp_path: Path) -> None:
    objects = ct_series(grid=GRID)
    again = [ct_series(grid=GRID)[3], ct_series(grid=GRID)[7]]
    again[1].SOPInstanceUID = again[1].file_meta.MediaStorageSOPInstanceUID = seeded_uid("again")
    volume = volume_of(save_all([*objects, *again], tmp_path))
    assert (volume.voxels == expected_voxels(GRID)).all()
    assert notes_of(volume) == {NoteCode.DUPLICATES_DROPPED: 2}


def test_two_phases_in_one_series_are_two_stacks_and_the_larger_is_read(tmp_path: Path) -> None:
    late = BoxPhantom(inside=900.0, outside=-800.0)
    first = ct_series(grid=GRID.without(0), seed="first", SeriesInstanceUID="1.2.3", AcquisitionNumber="1")
    second = ct_series(late, GRID, seed="second", SeriesInstanceUID="1.2.3", AcquisitionNumber="2")
    for ds in first + second:
        ds.FrameOfReferenceUID = "1.2.4"
    volume = volume_of(save_all(first + second, tmp_path))
    assert (volume.voxels == expected_voxels(GRID, late)).all()
    assert notes_of(volume) == {NoteCode.OTHER_STACK_LEFT: 11}


def test_acquisitions_that_follow_each_other_are_one_stack(tmp_path: Path) -> None:
    objects = ct_series(grid=GRID)
    for ds in objects[7:]:
        ds.AcquisitionNumber = "2"
    volume = volume_of(save_all(objects, tmp_path))
    assert (volume.voxels == expected_voxels(GRID)).all()
    assert notes_of(volume) == {}


@pytest.mark.parametrize(
    "attributes",
    [{"EchoTime": "90"}, {"ImageType": ["ORIGINAL", "PRIMARY", "M", "P"]}, {"FrameOfReferenceUID": "1.2.9"}],
)
def test_another_echo_type_or_frame_of_reference_is_another_stack(tmp_path: Path, attributes: dict[str, Any]) -> None:
    objects = mr_series(grid=GRID)
    others = mr_series(grid=Grid(slices=5, rows=20, columns=16), seed="b", **attributes)
    for ds in others:
        ds.SeriesInstanceUID = objects[0].SeriesInstanceUID
        if "FrameOfReferenceUID" not in attributes:
            ds.FrameOfReferenceUID = objects[0].FrameOfReferenceUID
    volume = volume_of(save_all([*others, *objects], tmp_path), "MR")
    assert volume.geometry.shape == (12, 20, 16)
    assert notes_of(volume) == {NoteCode.OTHER_STACK_LEFT: 5}


@pytest.mark.parametrize(
    "other",
    [
        Grid(slices=5, rows=24, columns=16),
        Grid(slices=5, rows=20, columns=16, spacing_mm=(5.0, 4.9)),
        Grid(slices=5, rows=20, columns=16, orientation=SAGITTAL),
    ],
    ids=["size", "spacing", "orientation"],
)
def test_mixed_series_give_their_largest_stack(tmp_path: Path, other: Grid) -> None:
    objects = ct_series(grid=GRID)
    foreign = ct_series(grid=other, seed="b")
    for ds in foreign:
        ds.SeriesInstanceUID = objects[0].SeriesInstanceUID
        ds.FrameOfReferenceUID = objects[0].FrameOfReferenceUID
    volume = volume_of(save_all([*foreign, *objects], tmp_path))
    assert (volume.voxels == expected_voxels(GRID)).all()
    assert notes_of(volume) == {NoteCode.OTHER_STACK_LEFT: 5}


def test_localizers_in_the_series_are_left_out(tmp_path: Path) -> None:
    objects = ct_series(grid=GRID)
    for ds in objects[:1]:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    volume = volume_of(save_all(objects, tmp_path))
    assert volume.geometry.shape[0] == 11
    assert notes_of(volume) == {NoteCode.LOCALIZERS_LEFT: 1}


def test_a_missing_slice_is_interpolated_at_its_place_and_said(tmp_path: Path) -> None:
    volume = volume_of(save_all(ct_series(grid=GRID.without(5)), tmp_path))
    assert notes_of(volume) == {NoteCode.SLICES_INTERPOLATED: 1}
    assert volume.geometry.slice_spacing_mm == pytest.approx(8.0)
    assert np.diff(volume.geometry.slice_positions_mm)[4] == pytest.approx(16.0)


def test_a_large_gap_is_refused(tmp_path: Path) -> None:
    error = refusal(save_all(ct_series(grid=GRID.without(5, 6)), tmp_path))
    assert error.code is VolumeErrorCode.GAP_TOO_LARGE
    assert error.facts == {"gap_mm": 24.0, "limit_mm": 16.8, "missing": 2}


def test_thin_slices_may_miss_several_in_a_row_within_the_limit(tmp_path: Path) -> None:
    grid = Grid(slices=40, step_mm=2.0, rows=8, columns=8)
    volume = volume_of(save_all(ct_series(grid=grid.without(20, 21, 22)), tmp_path))
    assert notes_of(volume) == {NoteCode.SLICES_INTERPOLATED: 3}


def test_too_many_missing_slices_are_refused(tmp_path: Path) -> None:
    error = refusal(save_all(ct_series(grid=Grid(slices=20, rows=8, columns=8).without(3, 7, 11)), tmp_path))
    assert error.code is VolumeErrorCode.TOO_MANY_MISSING
    assert error.facts == {"missing": 3, "slices": 17}


def test_uneven_slices_keep_their_true_places(tmp_path: Path) -> None:
    places = (-40.0, -32.0, -25.0, -16.0, -8.0, 0.0, 8.0, 16.0, 24.0, 33.0, 40.0)
    volume = volume_of(save_all(ct_series(grid=replace(GRID, places_mm=places)), tmp_path))
    assert notes_of(volume) == {NoteCode.IRREGULAR_SPACING: 4}
    assert volume.geometry.slice_positions_mm == pytest.approx(np.array(places) + 40)


def test_tilted_slices_are_straightened(tmp_path: Path) -> None:
    straight = volume_of(save_all(ct_series(grid=GRID, seed="straight"), tmp_path / "straight"))
    tilted = volume_of(save_all(ct_series(grid=replace(GRID, tilt_deg=20.0), seed="tilted"), tmp_path / "tilted"))
    assert notes_of(tilted) == {NoteCode.TILT_CORRECTED: 11}
    shift_px = tilted.geometry.source_shift_px[:, 0]
    assert np.diff(shift_px) == pytest.approx(-8.0 * np.tan(np.deg2rad(20)) / 5.0)
    assert not tilted.geometry.source_shift_px[:, 1].any()
    # what both fields of view hold is the same but for the blur of one more interpolation
    inside = (tilted.voxels > -1000).all(axis=(0, 2))
    offset_rows = (tilted.geometry.origin_lps_mm - straight.geometry.origin_lps_mm)[1] / 5.0
    rows = np.flatnonzero(inside)
    expected = np.stack(
        [
            [np.interp(rows + offset_rows, np.arange(20), plane[:, column]) for column in range(16)]
            for plane in straight.voxels
        ]
    ).transpose(0, 2, 1)
    assert np.abs(tilted.voxels[:, rows] - expected).mean() < 15
    assert np.abs(volume_of_unsheared(tmp_path / "tilted")[:, rows] - expected).mean() > 60


def volume_of_unsheared(folder: Path) -> np.ndarray:
    """Voxels of the files one upon the other, as if the gantry had not been tilted."""
    return np.stack([np.rint(CT_BOX(replace(GRID, tilt_deg=20.0).points(offset))) for offset in GRID.offsets_mm])


def test_too_large_a_tilt_is_refused(tmp_path: Path) -> None:
    error = refusal(save_all(ct_series(grid=replace(GRID, tilt_deg=50.0)), tmp_path))
    assert error.code is VolumeErrorCode.TILT_TOO_LARGE
    assert error.facts == {"angle_deg": 50.0, "limit_deg": 35.0}


def without(objects: list[FileDataset], keyword: str) -> list[FileDataset]:
    for ds in objects:
        delattr(ds, keyword)
    return objects


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_that_do_not_say_where_they_lie_are_refused(tmp_path: Path, keyword: str) -> None:
    assert refusal(save_all(without(ct_series(grid=GRID), keyword), tmp_path)).code is VolumeErrorCode.NO_GEOMETRY


def test_an_orientation_that_is_no_direction_counts_as_none(tmp_path: Path) -> None:
    objects = ct_series(grid=GRID)
    objects[0].ImageOrientationPatient = ["1", "0", "0", "1", "0", "0"]
    volume = volume_of(save_all(objects, tmp_path))
    assert notes_of(volume) == {NoteCode.NO_GEOMETRY_LEFT: 1}


def test_too_few_slices_are_refused(tmp_path: Path) -> None:
    error = refusal(save_all(ct_series(grid=replace(GRID, slices=3)), tmp_path))
    assert error.code is VolumeErrorCode.TOO_FEW_SLICES
    assert error.facts == {"slices": 3, "needed": 4}


def test_many_images_at_one_place_are_no_volume(tmp_path: Path) -> None:
    error = refusal(save_all(ct_series(grid=replace(GRID, places_mm=(0.0,) * 6)), tmp_path))
    assert error.code is VolumeErrorCode.TOO_FEW_SLICES


@pytest.mark.parametrize("rescale_type", ["Z_EFF", "MGML"])
def test_a_ct_that_is_not_in_hounsfield_units_is_refused(tmp_path: Path, rescale_type: str) -> None:
    objects = ct_series(grid=GRID, RescaleType=rescale_type)
    assert refusal(save_all(objects, tmp_path)).code is VolumeErrorCode.NOT_HOUNSFIELD


def test_a_ct_without_a_rescale_is_refused(tmp_path: Path) -> None:
    objects = without(ct_series(grid=GRID), "RescaleIntercept")
    assert refusal(save_all(objects, tmp_path)).code is VolumeErrorCode.NOT_HOUNSFIELD


def test_a_volume_above_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    paths = save_all(ct_series(grid=GRID), tmp_path)
    with pytest.raises(VolumeError) as caught:
        volume_of(paths, limits=VolumeLimits(max_voxels=1000))
    assert caught.value.code is VolumeErrorCode.ABSURD_SIZE


def test_a_damaged_slice_is_a_missing_slice(tmp_path: Path) -> None:
    paths = save_all(ct_series(grid=GRID), tmp_path)
    paths[6] = truncated(paths[6], keep_fraction=0.8)
    volume = volume_of(paths)
    assert volume.geometry.shape[0] == 11
    assert notes_of(volume) == {NoteCode.SLICES_INTERPOLATED: 1, NoteCode.UNREADABLE_LEFT: 1}


def test_a_series_of_damaged_slices_is_refused_with_the_reason(tmp_path: Path) -> None:
    paths = [truncated(path, keep_fraction=0.8) for path in save_all(ct_series(grid=GRID), tmp_path)]
    error = refusal(paths)
    assert error.code is VolumeErrorCode.NO_SLICES
    assert error.facts == {"pixels": "truncated"}


def test_no_slices_are_refused() -> None:
    with pytest.raises(VolumeError) as caught:
        read_volume([], "CT")
    assert caught.value.code is VolumeErrorCode.NO_SLICES


@pytest.mark.parametrize("order", [range(12), range(11, -1, -1), [3, 0, 7, 11, 1, 2, 10, 4, 9, 6, 8, 5]])
def test_an_enhanced_ct_is_the_same_volume(tmp_path: Path, order: list[int]) -> None:
    objects = ct_series(grid=GRID)
    multi_frame = enhanced([objects[index] for index in order])
    volume = volume_of([save(multi_frame, tmp_path / "enhanced.dcm")])
    assert (volume.voxels == expected_voxels(GRID)).all()
    assert [source.frame_index for source in volume.geometry.sources] == [list(order).index(k) for k in range(12)]


def test_an_enhanced_mr_is_the_same_volume(tmp_path: Path) -> None:
    volume = volume_of([save(enhanced(mr_series(grid=GRID)), tmp_path / "enhanced.dcm")], "MR")
    assert (volume.voxels == expected_voxels(GRID, MR_BOX)).all()


def test_what_holds_no_image_is_passed_over_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    paths = save_all(ct_series(grid=GRID), tmp_path)
    text = tmp_path / "text.dcm"
    text.write_text("This is not a DICOM file.")
    scanned = scan_files([*paths, text])
    assert [len(series.slices) for series in scanned.series] == [12]
    assert [(path.name, code.value) for path, code in scanned.unreadable] == [("text.dcm", "not-dicom")]


def test_no_error_or_note_speaks_of_the_patient(tmp_path: Path) -> None:
    objects = ct_series(grid=GRID.without(5, 6), PatientName="Secret^Name", PatientID="S3CR3T")
    error = refusal(save_all(objects, tmp_path))
    assert "ecret" not in str(error)
    assert "S3CR3T" not in str(error)
