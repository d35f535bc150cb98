"""NIfTI files: scaling, axes, damage, and the place of a volume by its affine."""

from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from models.shared.volumes import VolumeError, VolumeErrorCode, VolumeLimits, read_nifti_volume
from models.shared.volumes.nifti import read_nifti

nibabel: Any = untyped_nibabel  # its classes carry hints only in part
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -3.0, 0, 40], [0, 0, 5.0, -50], [0, 0, 0, 1]])


def write(path: Path, values: NDArray[np.generic], affine: NDArray[np.float64] = AFFINE, slope: float = 1.0) -> Path:
    image = nibabel.Nifti1Image(values, affine)
    if slope != 1.0:
        image.header.set_slope_inter(slope, -10)
    nibabel.save(image, path)
    return path


@pytest.fixture
def values() -> NDArray[np.int16]:
    return np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_axes_and_scaling_are_the_files_own(tmp_path: Path, name: str, values: NDArray[np.int16]) -> None:
    path = write(tmp_path / name, values.astype(np.float64) * 2 - 10)
    image = nibabel.load(path)
    array = read_nifti(path)
    assert array.shape == (4, 5, 6)
    assert (array.scaled(array.stored) == image.get_fdata()).all()


def test_scaled_integers_stay_integers_until_they_are_asked_for(tmp_path: Path) -> None:
    stored = np.linspace(-500, 900, 60).reshape(3, 4, 5)
    image = nibabel.Nifti1Image(stored, AFFINE)
    image.set_data_dtype(np.int16)  # nibabel then chooses slope and intercept
    nibabel.save(image, tmp_path / "x.nii")
    array = read_nifti(tmp_path / "x.nii")
    assert array.stored.dtype == np.int16
    assert array.slope != 1.0
    assert (array.scaled(array.stored) == nibabel.load(tmp_path / "x.nii").get_fdata()).all()


def test_a_volume_lies_where_its_affine_says(tmp_path: Path, values: NDArray[np.int16]) -> None:
    volume = read_nifti_volume(write(tmp_path / "x.nii.gz", values), modality="CT")
    assert volume.voxels.shape == volume.geometry.shape == (6, 5, 4)
    assert volume.voxels[5, 4, 3] == values[3, 4, 5]
    # voxel (1, 2, 3) is at RAS (28, 34, -35), so at LPS (-28, -34, -35)
    geometry = volume.geometry
    place = geometry.origin_lps_mm + np.array([3 * 5.0, 2 * 3.0, 1 * 2.0]) @ geometry.axes_lps
    assert place == pytest.approx([-28, -34, -35])
    assert geometry.spacing_mm == pytest.approx((5.0, 3.0, 2.0))


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"no nifti", VolumeErrorCode.NOT_NIFTI), (b"", VolumeErrorCode.NOT_NIFTI)],
)
def test_what_is_no_nifti_is_refused(tmp_path: Path, content: bytes, code: VolumeErrorCode) -> None:
    path = tmp_path / "x.nii"
    path.write_bytes(content)
    with pytest.raises(VolumeError) as caught:
        read_nifti(path)
    assert caught.value.code is code


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_a_file_that_ends_early_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 30000, (20, 20, 20)).astype(np.int16)
    path = write(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(VolumeError) as caught:
        read_nifti(path)
    assert caught.value.code is VolumeErrorCode.DAMAGED_NIFTI


def test_a_missing_file_is_no_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_nifti(tmp_path / "none.nii.gz")


def test_four_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError) as caught:
        read_nifti(write(tmp_path / "x.nii", np.zeros((3, 3, 3, 2), dtype=np.int16)))
    assert caught.value.code is VolumeErrorCode.BAD_SHAPE


def test_colour_voxels_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros((3, 3, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(VolumeError) as caught:
        read_nifti(write(tmp_path / "x.nii", rgb))
    assert caught.value.code is VolumeErrorCode.BAD_SHAPE


def test_a_header_that_promises_too_much_is_refused_before_it_is_read(
    tmp_path: Path, values: NDArray[np.int16]
) -> None:
    with pytest.raises(VolumeError) as caught:
        read_nifti(write(tmp_path / "x.nii", values), limits=VolumeLimits(max_voxels=100))
    assert caught.value.code is VolumeErrorCode.ABSURD_SIZE


def test_skewed_axes_are_refused(tmp_path: Path, values: NDArray[np.int16]) -> None:
    skewed = AFFINE.copy()
    skewed[1, 2] = 2.0
    with pytest.raises(VolumeError) as caught:
        read_nifti_volume(write(tmp_path / "x.nii", values, skewed))
    assert caught.value.code is VolumeErrorCode.SKEWED_AXES


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    broken = np.zeros((3, 3, 3), dtype=np.float32)
    broken[1, 1, 1] = np.nan
    with pytest.raises(VolumeError) as caught:
        read_nifti_volume(write(tmp_path / "x.nii", broken))
    assert caught.value.code is VolumeErrorCode.NOT_FINITE
