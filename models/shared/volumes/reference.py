"""The published preprocessing, for comparison with the published model: an image file enters, its input leaves.

This is what a checkpoint's authors fed it, assumptions included: a NIfTI file's affine and spacing are ignored, axes
are taken as stored. A hospital's images go through `models.shared.volumes.product` instead, which puts them into that
orientation and spacing first.
"""

import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.shared.pixels import PixelError, PixelErrorCode
from models.shared.volumes.errors import VolumeError, VolumeErrorCode
from models.shared.volumes.fitting import fitted, resampled_size
from models.shared.volumes.intensity import scaled_ct, scaled_mri
from models.shared.volumes.nifti import NiftiArray, read_nifti
from models.shared.volumes.resampling import half_pixel_taps, resampled_planes
from models.shared.volumes.spec import ASSUMED_CT_SPACING_MM, CT_DEPTH, CT_PAD_VALUE, SIDE_PX, Family

REFERENCE_CT_SPACING_MM = (1.5, 0.75, 0.75)
"""(slices, rows, columns) of the published CT input."""


def reference_input(
    path: Path,
    modality: str,
    *,
    depth: int = CT_DEPTH,
    side_px: int = SIDE_PX,
    pad_value: float = CT_PAD_VALUE,
    spacing_mm: tuple[float, float, float] = REFERENCE_CT_SPACING_MM,
) -> NDArray[np.float32]:
    """Make the published model's input of one file.

    Parameters
    ----------
    path
        An image that Pillow reads for "2D-CXR" and "2D-Ultrasound"; a NIfTI file for "3D-CT" and "3D-Brain-MRI".
    modality
        One of the four names, compared whole.
    depth, pad_value, spacing_mm
        Of "3D-CT" alone: slices of the output, value outside the data, voxel size (slices, rows, columns) resampled to.
    side_px
        Side of the output; "3D-Brain-MRI" keeps the size of its file.

    Returns
    -------
    NDArray[np.float32]
        (1, D, H, W): 2D (1, 1, side, side) in [0, 1]; CT (1, depth, side, side) in [0, 1] and `pad_value`; MRI
        (1, Z, X, Y).

    Raises
    ------
    PixelError
        not-an-image, decode-failed.
    VolumeError
        wrong-modality, and what `read_nifti` raises.
    OSError
        The file cannot be opened or read.
    """
    if modality in {Family.CXR, Family.ULTRASOUND}:
        return image_input(path, side_px)[np.newaxis, np.newaxis]
    if modality == Family.CHEST_CT:
        return ct_input(read_nifti(path), (depth, side_px, side_px), spacing_mm, pad_value)[np.newaxis]
    if modality == Family.BRAIN_MRI:
        return mri_input(read_nifti(path))[np.newaxis]
    raise VolumeError(VolumeErrorCode.WRONG_MODALITY)


def image_input(path: Path, side_px: int = SIDE_PX) -> NDArray[np.float32]:
    """(side, side) float32 in [0, 1]: Pillow's luminance, Pillow's bilinear filter, aspect ratio ignored."""
    content = path.read_bytes()  # so that an OSError below speaks of the content, not of the file system
    try:
        with Image.open(BytesIO(content)) as image:
            grey = image.convert("L")
    except UnidentifiedImageError as exc:
        raise PixelError(PixelErrorCode.NOT_AN_IMAGE) from exc
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as exc:
        raise PixelError(PixelErrorCode.DECODE_FAILED) from exc
    if grey.size != (side_px, side_px):
        grey = grey.resize((side_px, side_px), Image.Resampling.BILINEAR)
    return np.asarray(grey, dtype=np.float32) / np.float32(255)


def ct_input(
    array: NiftiArray, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], pad_value: float
) -> NDArray[np.float32]:
    """Input of `shape` (Z, X, Y): X and Y flipped, resampled as if at 3 x 1 x 1 mm, windowed, cropped or padded."""
    stored = array.stored[::-1, ::-1, :].transpose(2, 0, 1)
    axes = [
        fitted(half_pixel_taps(size, resampled_size(size, old_mm, new_mm)), target)
        for size, target, old_mm, new_mm in zip(stored.shape, shape, ASSUMED_CT_SPACING_MM, spacing_mm, strict=True)
    ]
    output = np.full(shape, pad_value, dtype=np.float32)
    block = output[axes[0].place, axes[1].place, axes[2].place]
    slices, rows, columns = (axis.taps for axis in axes)
    planes = resampled_planes(lambda z: array.scaled(stored[z]), slices, rows, columns)
    for z, plane in enumerate(planes):
        block[z] = scaled_ct(plane)
    return output


def mri_input(array: NiftiArray) -> NDArray[np.float32]:
    """(Z, X, Y) float32 at the size of the file, in [0, 1] by the percentiles of its positive voxels."""
    values = array.scaled(array.stored).astype(np.float32)
    return np.ascontiguousarray(scaled_mri(values).transpose(2, 0, 1))
