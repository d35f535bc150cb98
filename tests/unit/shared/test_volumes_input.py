"""From a volume to the model's input and back to the slices."""

from dataclasses import replace
from pathlib import Path

import nibabel as untyped_nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from models.shared.volumes import (
    PlaneBox,
    Volume,
    VolumeError,
    VolumeErrorCode,
    VolumeGeometry,
    cell_box,
    input_spec,
    read_nifti_volume,
    read_volume,
    reference_input,
    region_on_slices,
    scan_files,
    volume_input,
)
from tests.support.volumes import CORONAL, SAGITTAL, BoxPhantom, Grid, Vector, ct_series, mr_series, save_all

LPS_FILE = np.diag([-1.0, -1.0, 3.0, 1.0])  # stored left, posterior, superior, at the published spacing
CT = input_spec("3D-CT", depth=60, side_px=120)
MRI = input_spec("3D-Brain-MRI", depth=20, side_px=60)


def nifti(path: Path, values: NDArray[np.generic], affine: NDArray[np.float64]) -> Path:
    untyped_nibabel.save(untyped_nibabel.Nifti1Image(values, affine), path)  # type: ignore[no-untyped-call]
    return path


def volume_of(paths: list[Path], modality: str = "CT") -> Volume:
    (series,) = scan_files(paths).series
    return read_volume(series.slices, modality)


@pytest.fixture
def values() -> NDArray[np.int16]:
    return np.random.default_rng(5).integers(-1200, 1200, (23, 18, 11)).astype(np.int16)


def test_a_ct_in_the_published_orientation_and_spacing_gives_the_published_input(
    tmp_path: Path, values: NDArray[np.int16]
) -> None:
    path = nifti(tmp_path / "x.nii.gz", values, LPS_FILE)
    expected = reference_input(path, "3D-CT")[0]
    made = volume_input(read_nifti_volume(path, modality="CT"), input_spec("3D-CT")).voxels
    assert made.shape == (240, 480, 480)
    assert np.abs(made - expected).max() <= 2e-6


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_the_order_in_which_a_file_stores_its_axes_does_not_matter(
    tmp_path: Path, values: NDArray[np.int16], axes: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    expected = volume_input(read_nifti_volume(nifti(tmp_path / "a.nii", values, LPS_FILE)), CT).voxels
    image = untyped_nibabel.Nifti1Image(values, LPS_FILE)  # type: ignore[no-untyped-call]
    turned = image.as_reoriented(np.array([[axis, -1 if axis in flips else 1] for axis in axes]))  # type: ignore[no-untyped-call]
    untyped_nibabel.save(turned, tmp_path / "b.nii")
    made = volume_input(read_nifti_volume(tmp_path / "b.nii"), CT).voxels
    assert np.abs(made - expected).max() <= 2e-6


def test_two_interpolations_at_once_are_the_two_one_after_the_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    values = rng.integers(-900, 900, (30, 24, 16)).astype(np.float64)
    path = nifti(tmp_path / "a.nii", values, np.diag([-0.8, -0.7, 2.5, 1.0]))
    made = volume_input(read_nifti_volume(path, modality="CT"), input_spec("3D-CT")).voxels
    # by hand: to 1 x 1 x 3 mm about the centre of the field, then the published pipeline on that file
    between = values
    for axis, (old_mm, new_mm) in enumerate(zip((0.8, 0.7, 2.5), (1.0, 1.0, 3.0), strict=True)):
        size = between.shape[axis]
        wanted = round(size * old_mm / new_mm)
        at = (np.arange(wanted) - (wanted - 1) / 2) * new_mm / old_mm + (size - 1) / 2
        lines = np.moveaxis(between, axis, -1).reshape(-1, size)
        moved = np.stack([np.interp(at, np.arange(size), line) for line in lines])
        others = [length for other, length in enumerate(between.shape) if other != axis]
        between = np.moveaxis(moved.reshape(*others, wanted), -1, axis)
    expected = reference_input(nifti(tmp_path / "b.nii", between, LPS_FILE), "3D-CT")[0]
    assert np.abs(made - expected).max() <= 2e-6


def place_of(made_voxels: NDArray[np.float32], background: float) -> tuple[float, float, float]:
    """Centre of mass of what stands out of the background, in edges along (slices, rows, columns)."""
    weight = np.clip(made_voxels - background, 0, None).astype(np.float64)
    weight[made_voxels < 0] = 0  # padding
    slices, rows, columns = (
        float((weight.sum(axis=others) * (np.arange(size) + 0.5)).sum() / weight.sum())
        for size, others in zip(weight.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
    )
    return (slices, rows, columns)


@pytest.mark.parametrize("orientation", [CORONAL, SAGITTAL])
def test_a_box_is_found_where_it_lies_in_the_patient(tmp_path: Path, orientation: tuple[Vector, Vector]) -> None:
    phantom = BoxPhantom(centre_mm=(20.0, -15.0, 12.0))
    grid = Grid(slices=40, step_mm=4.0, rows=40, columns=40, orientation=orientation)
    made = volume_input(volume_of(save_all(ct_series(phantom, grid), tmp_path)), CT)
    assert made.placement.point_lps_mm(place_of(made.voxels, 0.05)) == pytest.approx(phantom.centre_mm, abs=1.0)


def test_axes_of_the_input_run_up_right_and_forward(tmp_path: Path) -> None:
    made = volume_input(volume_of(save_all(ct_series(), tmp_path)), CT)
    middle = made.placement.point_lps_mm((30.0, 60.0, 60.0))
    for point, direction in (
        ((31.0, 60.0, 60.0), (0, 0, 1)),
        ((30.0, 61.0, 60.0), (-1, 0, 0)),
        ((30.0, 60.0, 61.0), (0, -1, 0)),
    ):
        step = np.array(made.placement.point_lps_mm(point)) - np.array(middle)
        assert step / np.linalg.norm(step) == pytest.approx(direction)


def test_uneven_slices_are_taken_at_their_true_places(tmp_path: Path) -> None:
    phantom = BoxPhantom(centre_mm=(0.0, 0.0, 20.0), size_mm=(60.0, 40.0, 30.0))
    uneven = tuple(np.concatenate([np.arange(-80, 0, 8.0), np.arange(0, 84, 5.0)]).tolist())
    grid = Grid(places_mm=uneven, orientation=((1, 0, 0), (0, 1, 0)))
    made = volume_input(volume_of(save_all(ct_series(phantom, grid), tmp_path)), CT)
    assert made.placement.point_lps_mm(place_of(made.voxels, 0.05)) == pytest.approx((0, 0, 20), abs=1.5)


def test_an_mri_fills_the_input_with_its_field_of_view(tmp_path: Path) -> None:
    phantom = BoxPhantom(centre_mm=(10.0, 20.0, -8.0), inside=800.0, outside=100.0)
    grid = Grid(slices=24, step_mm=6.0, rows=44, columns=36)
    made = volume_input(volume_of(save_all(mr_series(phantom, grid), tmp_path), "MR"), MRI)
    assert made.voxels.shape == (20, 60, 60)
    assert (made.voxels.min(), made.voxels.max()) == (0, 1)
    assert made.placement.point_lps_mm(place_of(made.voxels, 0)) == pytest.approx(phantom.centre_mm, abs=1.5)
    # 220 mm along the columns fill the side; the 180 mm along the rows leave zeros on both sides
    assert made.voxels[:, :5].max() == made.voxels[:, -5:].max() == 0


def test_values_of_an_mri_are_scaled_between_its_percentiles(tmp_path: Path) -> None:
    values = np.abs(np.random.default_rng(1).normal(300, 80, (60, 60, 20))).astype(np.float32)
    path = nifti(tmp_path / "x.nii", values, np.diag([1.0, 1.0, 4.0, 1.0]))
    made = volume_input(read_nifti_volume(path, modality="MR"), MRI).voxels
    expected = reference_input(path, "3D-Brain-MRI")[0]  # stored right, anterior, superior, at the size of the input
    assert np.abs(made - expected).max() <= 2e-6


@pytest.mark.parametrize(("modality", "family"), [("MR", "3D-CT"), ("CT", "3D-Brain-MRI")])
def test_a_volume_of_another_modality_is_refused(modality: str, family: str) -> None:
    volume = replace(small_volume(), modality=modality)
    with pytest.raises(VolumeError) as caught:
        volume_input(volume, input_spec(family))
    assert caught.value.code is VolumeErrorCode.WRONG_MODALITY


def small_volume(axes_lps: NDArray[np.float64] | None = None) -> Volume:
    geometry = VolumeGeometry(
        shape=(8, 8, 8),
        slice_positions_mm=np.arange(0, 160, 20, dtype=np.float64),
        slice_spacing_mm=20.0,
        pixel_spacing_mm=(20.0, 20.0),
        axes_lps=np.array([[0, 0, 1.0], [0, 1.0, 0], [1.0, 0, 0]]) if axes_lps is None else axes_lps,
        origin_lps_mm=np.zeros(3),
        source_shift_px=np.zeros((8, 2)),
    )
    return Volume(voxels=np.zeros((8, 8, 8), dtype=np.float32), geometry=geometry, modality="CT")


def test_a_volume_half_way_between_axes_is_refused() -> None:
    cosine, sine = np.cos(np.deg2rad(43)), np.sin(np.deg2rad(43))
    turned = np.array([[0, 0, 1.0], [-sine, cosine, 0], [cosine, sine, 0]])
    with pytest.raises(VolumeError) as caught:
        volume_input(small_volume(turned), CT)
    assert caught.value.code is VolumeErrorCode.SKEWED_AXES


@pytest.mark.parametrize("name", ["", "3D", "CT", "2D-CXR", "3D-CT-Chest"])
def test_only_the_names_of_volume_families_have_a_spec(name: str) -> None:
    with pytest.raises(VolumeError) as caught:
        input_spec(name)
    assert caught.value.code is VolumeErrorCode.WRONG_MODALITY


@pytest.mark.parametrize("row_sign", [1.0, -1.0])
@pytest.mark.parametrize("tilt_deg", [0.0, 15.0])
def test_a_box_of_the_input_is_shown_on_the_source_slice(tmp_path: Path, row_sign: float, tilt_deg: float) -> None:
    phantom = BoxPhantom(centre_mm=(20.0, -15.0, 4.0))
    grid = Grid(orientation=((row_sign, 0, 0), (0, 1, 0)), tilt_deg=tilt_deg)
    objects = ct_series(phantom, grid)
    made = volume_input(volume_of(save_all(objects, tmp_path, order=list(range(19, -1, -1)))), CT)
    shown = made.voxels[30] > 0.4
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    box = PlaneBox(
        x=columns[0] / 120,
        y=rows[0] / 120,
        width=(columns[-1] + 1 - columns[0]) / 120,
        height=(rows[-1] + 1 - rows[0]) / 120,
    )
    region = region_on_slices(made.placement, box)
    assert region is not None
    assert region.source is not None
    # the middle slice of twenty, and on it the pixels in which the box shows
    source = next(ds for ds in objects if region.source.instance_uid == ds.SOPInstanceUID)
    assert abs(float(source.ImagePositionPatient[2])) == pytest.approx(4.0)
    inside = source.pixel_array - 1024 > -200
    image_rows, image_columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert (region.top_px, region.bottom_px) == pytest.approx((image_rows[0], image_rows[-1] + 1), abs=1.0)
    assert (region.left_px, region.right_px) == pytest.approx((image_columns[0], image_columns[-1] + 1), abs=1.0)


def test_a_box_on_sagittal_slices_is_a_band_on_the_slice_that_crosses_it(tmp_path: Path) -> None:
    grid = Grid(slices=20, step_mm=8.0, orientation=SAGITTAL)
    made = volume_input(volume_of(save_all(mr_series(grid=grid), tmp_path), "MR"), MRI)
    left, _, right = (made.placement.point_lps_mm((10.0, edge, 30.0))[0] for edge in (40.0, 41.0, 42.0))
    region = region_on_slices(made.placement, PlaneBox(x=0.25, y=40 / 60, width=0.5, height=2 / 60))
    assert region is not None
    assert (region.top_px, region.bottom_px) == (0.0, 40.0)
    # these slices are counted from left to right: their normal is -x
    assert -grid.offsets_mm[region.slice_index] == pytest.approx((left + right) / 2, abs=4.0)
    assert 0 < region.left_px < region.right_px < 36


def test_a_box_on_padding_has_no_region(tmp_path: Path) -> None:
    made = volume_input(volume_of(save_all(ct_series(), tmp_path)), CT)
    assert region_on_slices(made.placement, cell_box(0, 0, 24)) is None
    assert region_on_slices(made.placement, cell_box(12, 12, 24)) is not None


def test_the_whole_plane_is_the_whole_image(tmp_path: Path) -> None:
    made = volume_input(volume_of(save_all(ct_series(), tmp_path)), CT)
    region = region_on_slices(made.placement, PlaneBox(x=0, y=0, width=1, height=1))
    assert region is not None
    assert (region.left_px, region.top_px, region.right_px, region.bottom_px) == (0, 0, 36, 40)


def test_a_field_larger_than_the_input_is_shown_by_what_the_input_holds(tmp_path: Path) -> None:
    grid = Grid(slices=60, step_mm=8.0, rows=50, columns=50, spacing_mm=(10.0, 10.0))  # 480 x 500 x 500 mm
    made = volume_input(volume_of(save_all(ct_series(grid=grid), tmp_path)), CT)
    region = region_on_slices(made.placement, PlaneBox(x=0, y=0, width=1, height=1))
    assert region is not None
    assert (region.left_px, region.right_px) == pytest.approx((7, 43), abs=0.2)
    assert region.slice_index in {29, 30}
