"""The grey-scale pipeline: modality, VOI and presentation transforms on real objects, bright = dense in the end."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.processing import apply_windowing
from pydicom.uid import ExplicitVRBigEndian

from models.shared.pixels import Box, PixelError, PixelErrorCode, read_frame
from models.shared.pixels.grey import modality_values
from tests.support.objects import ct_slice, dx_from_image

RAMP8 = np.arange(256, dtype=np.uint8).reshape(16, 16)
RAMP12 = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)


def twelve_bit(pixels: np.ndarray = RAMP12, **attributes: Any) -> FileDataset:
    """12 of 16 bits, as detectors write them; no window unless given."""
    values = {"BitsStored": 12, "HighBit": 11, "WindowCenter": None, "WindowWidth": None} | attributes
    return dx_from_image(pixels, **values)


def lut(entries: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def test_eight_bits_without_a_window_are_as_an_ordinary_image() -> None:
    ds = dx_from_image(RAMP8, WindowCenter=None, WindowWidth=None)
    assert np.array_equal(np.rint(read_frame(ds).pixels * 255), RAMP8)


def test_identity_window_changes_nothing() -> None:
    assert np.array_equal(np.rint(read_frame(dx_from_image(RAMP8)).pixels * 255), RAMP8)


@pytest.mark.parametrize("inverse", [{"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}])
def test_inverse_images_come_out_bright_is_dense(inverse: dict[str, str]) -> None:
    straight = read_frame(dx_from_image(RAMP8)).pixels
    assert read_frame(dx_from_image(RAMP8, **inverse)).pixels == pytest.approx(1 - straight)


def test_monochrome1_with_the_inverse_shape_it_must_carry_is_inverted_once() -> None:
    ds = dx_from_image(RAMP8, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert read_frame(ds).pixels == pytest.approx(1 - RAMP8 / 255, abs=1e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (1000, 300), (-50, 20), (5000, 100), (2000, 1)])
def test_windows_agree_with_pydicom(function: str, center: int, width: int) -> None:
    ds = twelve_bit(WindowCenter=str(center), WindowWidth=str(width), VOILUTFunction=function)
    with np.errstate(over="ignore"):  # pydicom's sigmoid overflows on a narrow window
        expected = apply_windowing(RAMP12, ds) / 4095
    assert read_frame(ds).pixels == pytest.approx(expected, abs=1e-6)


def test_the_first_of_several_windows_is_used() -> None:
    several = twelve_bit(WindowCenter=["1000", "3000"], WindowWidth=["300", "10"])
    assert np.array_equal(
        read_frame(several).pixels, read_frame(twelve_bit(WindowCenter="1000", WindowWidth="300")).pixels
    )


@pytest.mark.parametrize(
    ("center", "width"), [("1000", "0"), ("1000", "-4"), ("1000", None), (None, "5"), ("1000", "0.5")]
)
def test_an_unusable_window_falls_back_to_the_default(center: str | None, width: str | None) -> None:
    pixels = read_frame(twelve_bit(WindowCenter=center, WindowWidth=width)).pixels
    assert np.array_equal(pixels, read_frame(twelve_bit()).pixels)


def test_the_default_window_ignores_outliers_and_padding() -> None:
    pixels = np.random.default_rng(1).integers(1000, 2000, (100, 100)).astype(np.uint16)
    pixels[0, :20] = 4095
    pixels[:50] = 0
    frame = read_frame(twelve_bit(pixels, PixelPaddingValue=0))

    assert frame.pixels[50:].mean() == pytest.approx(0.5, abs=0.02)
    assert not frame.pixels[1:50].any()
    assert frame.content_box == Box(0, 50, 100, 100)


def test_voi_lut_goes_before_the_window_and_is_clamped_at_both_ends() -> None:
    ds = twelve_bit(WindowCenter="10", WindowWidth="5", VOILUTSequence=[lut([0, 0, 255, 128], 1000, 8)])
    ds.PixelData = np.array([0, 1001, 1002, 1003, 4000] + [0] * 251, dtype="<u2").tobytes()
    assert read_frame(ds).pixels.ravel()[:5] == pytest.approx([0, 0, 1, 128 / 255, 128 / 255], abs=1e-6)


def test_lut_with_fewer_entries_than_it_says_is_a_bad_header() -> None:
    short = lut([0, 1, 2], 0, 8)
    short.LUTDescriptor = [4, 0, 8]
    with pytest.raises(PixelError) as caught:
        read_frame(twelve_bit(VOILUTSequence=[short]))
    assert caught.value.code is PixelErrorCode.BAD_HEADER


def test_rescale_gives_hounsfield_units_and_the_window_works_on_them() -> None:
    ds = ct_slice(size_px=64)
    stored = ds.pixel_array
    hounsfield = modality_values(ds, stored, 0)

    assert np.array_equal(hounsfield, stored.astype(float) - 1024)
    expected = np.clip((hounsfield - 39.5) / 399 + 0.5, 0, 1)
    assert read_frame(ds).pixels == pytest.approx(expected, abs=1e-6)


def test_modality_lut_is_applied_first() -> None:
    ds = twelve_bit(ModalityLUTSequence=[lut([5 * value for value in range(4096)], 0, 16)])
    del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
    assert np.array_equal(modality_values(ds, RAMP12, 0), RAMP12 * 5.0)


def test_garbage_above_the_stored_bits_is_ignored() -> None:
    garbage = RAMP12 | (np.random.default_rng(0).integers(0, 16, RAMP12.shape).astype(np.uint16) << 12)
    assert np.array_equal(read_frame(twelve_bit(garbage)).pixels, read_frame(twelve_bit()).pixels)


def test_bits_stored_at_the_top_of_the_word_are_moved_down() -> None:
    shifted = twelve_bit(RAMP12 << 4, HighBit=15)
    assert np.array_equal(read_frame(shifted).pixels, read_frame(twelve_bit()).pixels)


def test_signed_twelve_bits_are_sign_extended() -> None:
    signed = np.linspace(-2048, 2047, 256).astype(np.int16).reshape(16, 16)
    ds = twelve_bit(signed & 0x0FFF, WindowCenter="0", WindowWidth="4096", PixelRepresentation=1)
    assert read_frame(ds).pixels.ravel()[[0, 255]] == pytest.approx([0, 1], abs=2e-3)
    assert (np.diff(read_frame(ds).pixels.ravel()) > 0).all()


def test_padding_written_with_the_wrong_sign_is_still_padding() -> None:
    pixels = np.full((16, 16), 500, dtype=np.int16)
    pixels[:4] = -2000
    ds = dx_from_image(pixels, WindowCenter="-1000", WindowWidth="4000", PixelPaddingValue=65536 - 2000)
    ds["PixelPaddingValue"].VR = "US"
    assert not read_frame(ds).pixels[:4].any()
    assert read_frame(ds).pixels[4:].all()


def test_padding_range_of_an_inverse_image_is_black_too() -> None:
    pixels = np.full((16, 16), 100, dtype=np.uint8)
    pixels[:3] = 5
    ds = dx_from_image(pixels, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=3, PixelPaddingRangeLimit=9)
    assert not read_frame(ds).pixels[:3].any()


@pytest.mark.parametrize(("value", "expected"), [((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114)])
def test_colour_becomes_luminance_of_eight_bits(value: tuple[int, int, int], expected: float) -> None:
    ds = dx_from_image(RAMP8, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    ds.PixelData = bytes(value) * 256
    assert read_frame(ds).pixels == pytest.approx(np.full((16, 16), round(expected * 255) / 255), abs=1e-6)


def test_ybr_becomes_its_luminance_channel() -> None:
    ds = dx_from_image(RAMP8, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=0)
    ds.PixelData = np.stack([RAMP8, np.full_like(RAMP8, 128), np.full_like(RAMP8, 128)], axis=-1).tobytes()
    assert read_frame(ds).pixels == pytest.approx(RAMP8 / 255, abs=1 / 255)


def palette(ds: FileDataset, entries: np.ndarray, first: int = 0) -> FileDataset:
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        ds.add_new(
            f"{colour}PaletteColorLookupTableDescriptor", "US", [len(entries) % 65536, first, entries.itemsize * 8]
        )
        ds.add_new(f"{colour}PaletteColorLookupTableData", "OW", entries.tobytes())
    return ds


def test_palette_colours_become_luminance() -> None:
    reversed_grey = np.arange(255, -1, -1, dtype=np.uint8)
    assert read_frame(palette(dx_from_image(RAMP8), reversed_grey)).pixels == pytest.approx(1 - RAMP8 / 255, abs=1e-6)


def test_a_palette_of_more_than_256_entries_of_eight_bits_does_not_overflow() -> None:
    entries = np.linspace(0, 255, 4096).astype(np.uint8)
    expected = entries[RAMP12] / 255
    assert read_frame(palette(twelve_bit(), entries)).pixels == pytest.approx(expected, abs=1e-6)


def test_an_unknown_photometric_interpretation_is_refused() -> None:
    with pytest.raises(PixelError) as caught:
        read_frame(dx_from_image(RAMP8, PhotometricInterpretation="HSV"))
    assert caught.value.code is PixelErrorCode.UNSUPPORTED_PHOTOMETRIC


def test_a_rectangular_shutter_bounds_the_content() -> None:
    film = np.random.default_rng(0).integers(60, 200, (100, 100)).astype(np.uint8)
    ds = dx_from_image(
        film,
        ShutterShape="RECTANGULAR",
        ShutterLeftVerticalEdge=10,
        ShutterRightVerticalEdge=91,
        ShutterUpperHorizontalEdge=20,
        ShutterLowerHorizontalEdge=81,
    )
    assert read_frame(ds).content_box == Box(10, 20, 90, 80)


def test_each_frame_of_an_enhanced_object_uses_its_own_window() -> None:
    ds = multi_frame(twelve_bit(), 2)
    ds.PerFrameFunctionalGroupsSequence = [Dataset(), Dataset()]
    for group, center in zip(ds.PerFrameFunctionalGroupsSequence, ("100", "3000"), strict=True):
        voi = Dataset()
        voi.WindowCenter, voi.WindowWidth = center, "2"
        group.FrameVOILUTSequence = [voi]
    bright = [read_frame(ds, index).pixels.mean() for index in (0, 1)]
    assert bright == pytest.approx([1 - 100 / 4096, 1 - 3000 / 4096], abs=0.01)


def multi_frame(ds: FileDataset, count: int) -> FileDataset:
    ds.NumberOfFrames = count
    ds.PixelData = ds.PixelData * count
    return ds


def test_frames_are_told_apart_and_counted() -> None:
    ds = multi_frame(dx_from_image(RAMP8), 3)
    ds.PixelData = b"".join(bytes([level]) * 256 for level in (10, 20, 30))
    assert [round(float(read_frame(ds, index).pixels.max() * 255)) for index in range(3)] == [10, 20, 30]
    with pytest.raises(PixelError) as caught:
        read_frame(ds, 3)
    assert caught.value.code is PixelErrorCode.NO_SUCH_FRAME


def test_big_endian_lut_data_are_read_as_such() -> None:
    def with_lut(ds: FileDataset, order: str) -> FileDataset:
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [4096, 0, 12])
        item.add_new("LUTData", "OW", np.arange(4095, -1, -1).astype(f"{order}u2").tobytes())
        ds.VOILUTSequence = [item]
        return ds

    little = with_lut(twelve_bit(), "<")
    big = with_lut(twelve_bit(), ">")
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    big.PixelData = RAMP12.astype(">u2").tobytes()
    assert np.array_equal(read_frame(big).pixels, read_frame(little).pixels)
    assert read_frame(little).pixels == pytest.approx(1 - RAMP12 / 4095, abs=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: twelve_bit(np.full((8, 8), 7, dtype=np.uint16)), lambda: dx_from_image(RAMP8)]
)
def test_output_is_finite_float32_in_the_unit_range(make: Callable[[], FileDataset]) -> None:
    pixels = read_frame(make()).pixels
    assert pixels.dtype == np.float32
    assert np.isfinite(pixels).all()
    assert pixels.min() >= 0
    assert pixels.max() <= 1
