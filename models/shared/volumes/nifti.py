"""NIfTI files: a path enters, the stored array with its scaling, or a Volume in the patient's coordinates, leaves."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from models.shared.volumes.errors import VolumeError, VolumeErrorCode
from models.shared.volumes.limits import DEFAULT_LIMITS, VolumeLimits
from models.shared.volumes.volume import Volume, VolumeGeometry

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_DAMAGE_ERRORS = (EOFError, HeaderDataError, MemoryError, TypeError, ValueError, zlib.error)
_LARGEST_COSINE_BETWEEN_AXES = 0.01  # 0.6 degrees: headers keep single precision


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NiftiArray:
    """A NIfTI image as stored.

    Attributes
    ----------
    stored
        (X, Y, Z) in the order of the file, not scaled yet: integers stay small.
    slope, intercept
        A voxel's value is stored * slope + intercept.
    affine_ras
        (4, 4) float64: voxel index to mm (RAS).
    """

    stored: NDArray[Any]
    slope: float
    intercept: float
    affine_ras: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes of the three axes as stored."""
        x, y, z = self.stored.shape
        return (int(x), int(y), int(z))

    def scaled(self, part: NDArray[Any]) -> NDArray[np.float64]:
        """Values of `part` of the stored array, float64."""
        values = part.astype(np.float64)
        return values if (self.slope, self.intercept) == (1.0, 0.0) else values * self.slope + self.intercept


def read_nifti(path: Path, *, limits: VolumeLimits = DEFAULT_LIMITS) -> NiftiArray:
    """Read a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz) of one three-dimensional image.

    Raises
    ------
    VolumeError
        not-nifti, damaged-nifti, bad-shape, absurd-size.
    OSError
        The file cannot be opened or read.
    """
    with path.open("rb"):  # a missing file is an OSError, not a damaged image
        pass
    try:
        image = nibabel.load(path)
    except (ImageFileError, HeaderDataError) as exc:
        raise VolumeError(VolumeErrorCode.NOT_NIFTI) from exc
    except _DAMAGE_ERRORS as exc:
        raise VolumeError(VolumeErrorCode.DAMAGED_NIFTI) from exc
    if not isinstance(image, nibabel.Nifti1Pair):
        raise VolumeError(VolumeErrorCode.NOT_NIFTI)
    shape = tuple(int(size) for size in image.shape)
    if len(shape) != 3 or min(shape) < 1:
        raise VolumeError(VolumeErrorCode.BAD_SHAPE, axes=len(shape))
    if int(np.prod(shape, dtype=np.float64)) > limits.max_voxels:
        raise VolumeError(VolumeErrorCode.ABSURD_SIZE, shape=shape)
    return _stored(image)


def _stored(image: Any) -> NiftiArray:
    proxy = image.dataobj
    try:
        stored = np.asanyarray(proxy.get_unscaled())
        affine = np.asarray(image.affine, dtype=np.float64)
    except (OSError, *_DAMAGE_ERRORS) as exc:  # nibabel reports a short file as OSError without an errno
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        raise VolumeError(VolumeErrorCode.DAMAGED_NIFTI) from exc
    if stored.dtype.kind not in "iuf":
        raise VolumeError(VolumeErrorCode.BAD_SHAPE, values=stored.dtype.kind)
    return NiftiArray(stored=stored, slope=float(proxy.slope), intercept=float(proxy.inter), affine_ras=affine)


def read_nifti_volume(path: Path, *, modality: str = "", limits: VolumeLimits = DEFAULT_LIMITS) -> Volume:
    """Read a NIfTI file as a volume placed by its affine; the third stored axis becomes the slices.

    `modality` ("CT", "MR") is what the caller knows the file to be.

    Raises
    ------
    VolumeError
        As `read_nifti`; no-geometry or skewed-axes where the affine gives no volume; not-finite.
    OSError
        The file cannot be opened or read.
    """
    array = read_nifti(path, limits=limits)
    columns = array.affine_ras[:3, :3] * _RAS_TO_LPS[:, None]
    steps_mm = np.linalg.norm(columns, axis=0)
    if not np.isfinite(array.affine_ras).all() or (steps_mm <= 0).any():
        raise VolumeError(VolumeErrorCode.NO_GEOMETRY)
    axes = (columns / steps_mm).T
    cosines = np.abs(axes @ axes.T - np.eye(3))
    if cosines.max() > _LARGEST_COSINE_BETWEEN_AXES:
        raise VolumeError(VolumeErrorCode.SKEWED_AXES, cosine=round(float(cosines.max()), 3))
    width, height, depth = array.shape
    voxels = np.empty((depth, height, width), dtype=np.float32)
    for k in range(depth):
        voxels[k] = array.scaled(array.stored[:, :, k]).T
    if not np.isfinite(voxels).all():
        raise VolumeError(VolumeErrorCode.NOT_FINITE)
    geometry = VolumeGeometry(
        shape=(depth, height, width),
        slice_positions_mm=np.arange(depth) * steps_mm[2],
        slice_spacing_mm=float(steps_mm[2]),
        pixel_spacing_mm=(float(steps_mm[1]), float(steps_mm[0])),
        axes_lps=axes[::-1].copy(),
        origin_lps_mm=array.affine_ras[:3, 3] * _RAS_TO_LPS,
        source_shift_px=np.zeros((depth, 2)),
    )
    return Volume(voxels=voxels, geometry=geometry, modality=modality)
