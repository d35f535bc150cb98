"""A grey frame in display orientation, the model's input made from it, and the way back to image coordinates."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

FloatImage = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

_PADDING_TOLERANCE = 6 / 255  # JPEG ringing around a burnt border stays below this
_PADDING_FRACTION = 0.98  # of a line's pixels; a burnt-in side marker may take the rest
_SMALLEST_CONTENT_FRACTION = 0.25  # of rows and of columns; less is not a border but a dark image


class Box(NamedTuple):
    """Half-open pixel box: columns x0 <= column < x1, rows y0 <= row < y1."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GreyFrame:
    """One image frame as it is displayed.

    Attributes
    ----------
    pixels
        (rows, columns) float32 in [0, 1]; bright = dense (MONOCHROME1 is inverted), padding is 0.
    content_box
        The image without constant padding, burnt borders and the region outside a rectangular shutter.
    """

    pixels: FloatImage
    content_box: Box

    @property
    def rows(self) -> int:
        """Number of rows of the whole frame."""
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        """Number of columns of the whole frame."""
        return int(self.pixels.shape[1])


def whole_frame_box(pixels: FloatImage) -> Box:
    """Box of the whole of `pixels` (rows, columns)."""
    return Box(0, 0, pixels.shape[1], pixels.shape[0])


def find_content_box(pixels: FloatImage) -> Box:
    """Box of `pixels` ((rows, columns), [0, 1]) without the near-constant black or white lines at its four sides.

    A box smaller than a quarter of the rows or of the columns is not believed: the whole frame is returned.
    """
    box = whole_frame_box(pixels)
    for _ in range(3):  # a border on one side can hide one on another: trim until nothing changes
        trimmed = _trim_once(pixels, box)
        if trimmed == box:
            break
        box = trimmed
    rows, columns = pixels.shape
    if (box.y1 - box.y0) < _SMALLEST_CONTENT_FRACTION * rows or (
        box.x1 - box.x0
    ) < _SMALLEST_CONTENT_FRACTION * columns:
        return whole_frame_box(pixels)
    return box


def _trim_once(pixels: FloatImage, box: Box) -> Box:
    part = pixels[box.y0 : box.y1, box.x0 : box.x1]
    if part.size == 0:
        return box
    is_dark = part <= _PADDING_TOLERANCE
    is_bright = part >= 1 - _PADDING_TOLERANCE
    rows_padded = np.maximum(is_dark.mean(axis=1), is_bright.mean(axis=1)) >= _PADDING_FRACTION
    columns_padded = np.maximum(is_dark.mean(axis=0), is_bright.mean(axis=0)) >= _PADDING_FRACTION
    rows_kept = np.flatnonzero(~rows_padded)
    columns_kept = np.flatnonzero(~columns_padded)
    if rows_kept.size == 0 or columns_kept.size == 0:
        return Box(box.x0, box.y0, box.x0, box.y0)
    return Box(
        box.x0 + int(columns_kept[0]),
        box.y0 + int(rows_kept[0]),
        box.x0 + int(columns_kept[-1]) + 1,
        box.y0 + int(rows_kept[-1]) + 1,
    )


def input_box(frame: GreyFrame, *, crop: bool = True) -> Box:
    """Part of the frame that the model sees: the content box, or the whole frame without `crop`."""
    return frame.content_box if crop else whole_frame_box(frame.pixels)


def model_input(frame: GreyFrame, side_px: int, *, crop: bool = True) -> FloatImage:
    """Make the encoder's 2D input: (side_px, side_px) float32 in [0, 1].

    The content box (the whole frame without `crop`) is rounded to 8 bits and resized with Pillow's bilinear filter,
    aspect ratio ignored, then divided by 255. Training and serving both come through here.
    """
    box = input_box(frame, crop=crop)
    part = frame.pixels[box.y0 : box.y1, box.x0 : box.x1]
    grey = Image.fromarray(np.rint(part * 255).astype(np.uint8))
    if grey.size != (side_px, side_px):
        grey = grey.resize((side_px, side_px), Image.Resampling.BILINEAR)
    return np.asarray(grey, dtype=np.float32) / np.float32(255)


def to_image_points(points: npt.ArrayLike, frame: GreyFrame, *, crop: bool = True) -> Points:
    r"""Map points of the model's input back to the image.

    Parameters
    ----------
    points
        (n, 2) of (x, y) in [0, 1]: fractions of the model input's width and height, (0, 0) its upper left corner.
    frame
        The frame that the input was made of.
    crop
        As given to `model_input`.

    Returns
    -------
    Points
        (n, 2) float64 of (column, row) as Graphic Data (0070,0022) of an SCOORD item wants them: the origin 0.0\0.0
        is the top left corner of the top left pixel, 1.0\1.0 that pixel's bottom right corner and Columns\Rows the
        bottom right corner of the last pixel (PS3.3 C.18.6.1.1). A pixel's centre is therefore at half values.
    """
    box = input_box(frame, crop=crop)
    scale = np.array([box.x1 - box.x0, box.y1 - box.y0], dtype=np.float64)
    return np.asarray(points, dtype=np.float64).reshape(-1, 2) * scale + np.array([box.x0, box.y0], dtype=np.float64)


def to_model_points(points_px: npt.ArrayLike, frame: GreyFrame, *, crop: bool = True) -> Points:
    """Inverse of `to_image_points`: (n, 2) image (column, row) to fractions of the model's input (may leave [0, 1])."""
    box = input_box(frame, crop=crop)
    scale = np.array([box.x1 - box.x0, box.y1 - box.y0], dtype=np.float64)
    fractions: Points = (np.asarray(points_px, dtype=np.float64).reshape(-1, 2) - np.array([box.x0, box.y0])) / scale
    return fractions
