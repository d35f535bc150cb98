"""The grey-scale pipeline of PS3.3 C.11 and PS3.4 N.2: stored values enter, display values in [0, 1] leave."""

from collections.abc import MutableSequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from models.shared.pixels.errors import PixelError, PixelErrorCode
from models.shared.pixels.frame import Box, FloatImage, GreyFrame, find_content_box, whole_frame_box
from models.shared.pixels.guard import attribute, sequence_items, transfer_syntax, whole_number
from models.shared.pixels.tables import read_lut, read_palette

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's mode L
_PILLOW_LUMINANCE = np.array([19595, 38470, 7471])  # the same weights in 1/65536, as Pillow rounds them
_COLOUR_INTERPRETATIONS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_DEFAULT_WINDOW_PERCENTILES = (0.5, 99.5)


def grey_frame(ds: Dataset, stored: npt.NDArray[Any], frame_index: int) -> GreyFrame:
    """Take stored values of one frame through modality, VOI and presentation transforms.

    Parameters
    ----------
    ds
        The object's header, with transfer syntax.
    stored
        (rows, columns) or, in colour, (rows, columns, 3) RGB as decoded.
    frame_index
        0-based; selects the frame's own functional groups.

    Raises
    ------
    PixelError
        unsupported-photometric, bad-header.
    """
    interpretation = str(attribute(ds, "PhotometricInterpretation") or "").strip().upper()
    padding = np.zeros(stored.shape[:2], dtype=np.bool_)
    if stored.ndim == 3:
        if interpretation not in _COLOUR_INTERPRETATIONS:
            raise PixelError(PixelErrorCode.UNSUPPORTED_PHOTOMETRIC, interpretation=interpretation)
        display = _luminance(ds, stored)
    elif interpretation == "PALETTE COLOR":
        display = _palette_luminance(ds, stored)
    elif interpretation in {"MONOCHROME1", "MONOCHROME2"}:
        padding = padding_mask(ds, stored)
        display = _voi(ds, modality_values(ds, stored, frame_index), padding, frame_index)
        if _is_inverse(ds, interpretation):
            display = 1 - display
    else:
        raise PixelError(PixelErrorCode.UNSUPPORTED_PHOTOMETRIC, interpretation=interpretation)
    display[padding] = 0
    pixels = np.clip(np.nan_to_num(display), 0, 1).astype(np.float32)
    return GreyFrame(pixels=pixels, content_box=_content_box(ds, pixels))


def _luminance(ds: Dataset, stored: npt.NDArray[Any]) -> Values:
    """Luminance of RGB values in [0, 1]; of 8-bit ones exactly Pillow's mode L, which the models were trained on."""
    if stored.dtype == np.uint8 and _largest_stored(ds) == 255:
        rounded: Values = ((stored.astype(np.int64) @ _PILLOW_LUMINANCE + 2**15) >> 16) / 255
        return rounded
    weighted: Values = stored @ _LUMINANCE / _largest_stored(ds)
    return weighted


def modality_values(ds: Dataset, stored: npt.NDArray[Any], frame_index: int) -> Values:
    """Apply the Modality LUT or rescale (PS3.3 C.11.1); CT values leave in HU. Same shape, float64."""
    if luts := sequence_items(ds, "ModalityLUTSequence"):
        table = read_lut(luts[0], is_little_endian=transfer_syntax(ds).is_little_endian)
        return table.apply(stored)
    holder = _functional_group(ds, frame_index, "PixelValueTransformationSequence")
    slope, intercept = _number(holder, "RescaleSlope"), _number(holder, "RescaleIntercept")
    values = stored.astype(np.float64)
    if slope is not None and intercept is not None and slope != 0:
        values = values * slope + intercept
    return values


def padding_mask(ds: Dataset, stored: npt.NDArray[Any]) -> Mask:
    """Where stored values are Pixel Padding Value or in its range (PS3.3 C.7.5.1.1.2); compared in the stored bits."""
    if stored.dtype.kind not in "iu" or attribute(ds, "PixelPaddingValue") is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    low = _as_stored(ds, whole_number(ds, "PixelPaddingValue"))
    high = _as_stored(ds, whole_number(ds, "PixelPaddingRangeLimit", low))
    return (stored >= min(low, high)) & (stored <= max(low, high))


def _as_stored(ds: Dataset, value: int) -> int:
    """Undo a US/SS mix-up: the same bits, read with the pixels' own sign."""
    bits = whole_number(ds, "BitsAllocated")
    value &= 2**bits - 1
    is_signed = whole_number(ds, "PixelRepresentation", 0) == 1
    return value - 2**bits if is_signed and value >= 2 ** (bits - 1) else value


def _voi(ds: Dataset, values: Values, padding: Mask, frame_index: int) -> Values:
    if luts := sequence_items(ds, "VOILUTSequence"):
        table = read_lut(luts[0], is_little_endian=transfer_syntax(ds).is_little_endian)
        return table.apply(values) / table.largest_output
    holder = _functional_group(ds, frame_index, "FrameVOILUTSequence")
    center, width = _number(holder, "WindowCenter"), _number(holder, "WindowWidth")
    function = str(attribute(holder, "VOILUTFunction") or "LINEAR").strip().upper()
    if center is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        return _default_window(ds, values, padding)
    return window(values, center, width, function)


def window(values: Values, center: float, width: float, function: str = "LINEAR") -> Values:
    """Apply one window to modality values. Output in [0, 1], same shape.

    LINEAR is PS3.3 C.11.2.1.2.1, SIGMOID C.11.2.1.3.1, LINEAR_EXACT C.11.2.1.3.2; an unknown function counts as LINEAR.
    """
    if function == "SIGMOID":
        # the exponent is bounded: past 60 the sigmoid is 0 or 1 in double precision, and exp must not overflow
        sigmoid: Values = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -60, 60)))
        return sigmoid
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _default_window(ds: Dataset, values: Values, padding: Mask) -> Values:
    """Without a usable VOI: 8-bit images as they are (like an ordinary image file), others by robust percentiles."""
    is_plain = not sequence_items(ds, "ModalityLUTSequence") and _number(ds, "RescaleSlope") in {None, 1.0}
    if is_plain and whole_number(ds, "BitsAllocated") == 8 and whole_number(ds, "PixelRepresentation", 0) == 0:
        return values / _largest_stored(ds)
    counted = values[~padding & np.isfinite(values)]
    if counted.size == 0:
        return np.zeros_like(values)
    low, high = np.percentile(counted, _DEFAULT_WINDOW_PERCENTILES)
    if high <= low:
        low, high = float(counted.min()), float(counted.max())
    if high <= low:
        return np.zeros_like(values)
    stretched: Values = np.clip((values - low) / (high - low), 0, 1)
    return stretched


def _palette_luminance(ds: Dataset, stored: npt.NDArray[Any]) -> Values:
    is_little_endian = transfer_syntax(ds).is_little_endian
    display = np.zeros(stored.shape, dtype=np.float64)
    for colour, weight in zip(("Red", "Green", "Blue"), _LUMINANCE, strict=True):
        table = read_palette(ds, colour, is_little_endian=is_little_endian)
        display += weight * table.apply(stored) / table.largest_output
    return display


def _is_inverse(ds: Dataset, interpretation: str) -> bool:
    # PS3.3 C.8.11.1.1: INVERSE is what a MONOCHROME1 image carries, not a second inversion of it.
    shape = str(attribute(ds, "PresentationLUTShape") or "").strip().upper()
    return interpretation == "MONOCHROME1" or shape == "INVERSE"


def _largest_stored(ds: Dataset) -> float:
    return float(2 ** whole_number(ds, "BitsStored", whole_number(ds, "BitsAllocated")) - 1)


def _functional_group(ds: Dataset, frame_index: int, keyword: str) -> Dataset:
    """Item that holds a transform: the frame's own functional group, the shared one, or the dataset itself."""
    per_frame = sequence_items(ds, "PerFrameFunctionalGroupsSequence")
    shared = sequence_items(ds, "SharedFunctionalGroupsSequence")
    for group in per_frame[frame_index : frame_index + 1] + shared[:1]:
        if items := sequence_items(group, keyword):
            return items[0]
    return ds


def _number(holder: Dataset, keyword: str) -> float | None:
    """Return the first value of a decimal attribute; None where it is absent, empty or not a finite number."""
    value = attribute(holder, keyword)
    if isinstance(value, MutableSequence):
        value = value[0] if value else None
    try:
        number = float(value) if value is not None else None
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and np.isfinite(number) else None


def _content_box(ds: Dataset, pixels: FloatImage) -> Box:
    shutter = _shutter_box(ds, pixels)
    inner = find_content_box(pixels[shutter.y0 : shutter.y1, shutter.x0 : shutter.x1])
    return Box(shutter.x0 + inner.x0, shutter.y0 + inner.y0, shutter.x0 + inner.x1, shutter.y0 + inner.y1)


def _shutter_box(ds: Dataset, pixels: FloatImage) -> Box:
    """Inside of a rectangular Display Shutter (PS3.3 C.7.6.11, edges are 1-based); the whole frame without one."""
    whole = whole_frame_box(pixels)
    if "RECTANGULAR" not in str(attribute(ds, "ShutterShape") or ""):
        return whole
    left, right = whole_number(ds, "ShutterLeftVerticalEdge", 0), whole_number(ds, "ShutterRightVerticalEdge", whole.x1)
    top, bottom = (
        whole_number(ds, "ShutterUpperHorizontalEdge", 0),
        whole_number(ds, "ShutterLowerHorizontalEdge", whole.y1),
    )
    box = Box(max(0, left), max(0, top), min(whole.x1, right - 1), min(whole.y1, bottom - 1))
    return box if box.x1 > box.x0 and box.y1 > box.y0 else whole
