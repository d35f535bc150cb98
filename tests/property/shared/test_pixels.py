"""Properties of the pixel path: damaged input ends in PixelError and nothing else; geometry and rendering are exact."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.uid import JPEG2000Lossless, RLELossless

from models.shared.pixels import (
    Box,
    GreyFrame,
    PixelError,
    model_input,
    read_file_frame,
    read_frame,
    to_image_points,
    to_model_points,
)
from models.shared.pixels.frame import find_content_box
from models.shared.pixels.grey import window
from tests.support.objects import as_bytes, ct_slice, dx_from_image

quick = settings(max_examples=60, deadline=None)
films = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@quick
@given(film=films)
def test_reading_an_eight_bit_film_is_lossless(film: npt.NDArray[np.uint8]) -> None:
    assert np.array_equal(np.rint(read_frame(dx_from_image(film)).pixels * 255), film)


@quick
@given(film=films, compressed=st.sampled_from([RLELossless, JPEG2000Lossless]))
def test_compression_changes_nothing(film: npt.NDArray[np.uint8], compressed: pydicom.uid.UID) -> None:
    film = np.resize(film, (film.shape[0] + 31, film.shape[1] + 31))  # the encoder refuses images of a few pixels
    ds = dx_from_image(film)
    expected = read_frame(ds).pixels
    ds.compress(compressed, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    assert np.array_equal(read_frame(ds).pixels, expected)


@quick
@given(film=films)
def test_an_inverted_film_read_as_inverse_is_the_film(film: npt.NDArray[np.uint8]) -> None:
    inverted = dx_from_image(255 - film, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert np.allclose(read_frame(inverted).pixels, read_frame(dx_from_image(film)).pixels, atol=1e-6)


@quick
@given(
    bits=st.integers(9, 16),
    signed=st.booleans(),
    slope=st.floats(0.01, 100),
    intercept=st.floats(-2000, 2000),
    seed=st.integers(0, 1000),
)
def test_order_of_values_survives_depth_sign_and_rescale(
    *, bits: int, signed: bool, slope: float, intercept: float, seed: int
) -> None:
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.random.default_rng(seed).integers(low, low + 2**bits, (9, 9)).astype(np.int16 if signed else np.uint16)
    ds = dx_from_image(
        values,
        BitsStored=bits,
        HighBit=bits - 1,
        RescaleSlope=f"{slope:.6g}",
        RescaleIntercept=f"{intercept:.6g}",
        WindowCenter=None,
        WindowWidth=None,
    )
    pixels = read_frame(ds).pixels.ravel()[np.argsort(values.ravel(), kind="stable")]
    assert (np.diff(pixels) >= 0).all()


@quick
@given(
    values=hnp.arrays(np.float64, 20, elements=st.floats(-5000, 5000)),
    center=st.floats(-5000, 5000),
    width=st.floats(1, 5000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_are_monotonic_and_stay_in_the_unit_range(
    values: npt.NDArray[np.float64], center: float, width: float, function: str
) -> None:
    display = window(np.sort(values), center, width, function)
    assert ((display >= 0) & (display <= 1)).all()
    assert (np.diff(display) >= 0).all()


@st.composite
def bordered(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], Box]:
    """Draw a film of grey content inside constant borders, and the content's box."""
    rows, columns = draw(st.integers(10, 40)), draw(st.integers(10, 40))
    top, bottom, left, right = (draw(st.integers(0, 3)) for _ in range(4))
    film = np.full((rows + top + bottom, columns + left + right), draw(st.sampled_from([0.0, 1.0])), dtype=np.float32)
    film[top : top + rows, left : left + columns] = draw(st.sampled_from([0.1, 0.4, 0.9]))
    return film, Box(left, top, left + columns, top + rows)


@quick
@given(case=bordered())
def test_constant_borders_are_found_exactly(case: tuple[npt.NDArray[np.float32], Box]) -> None:
    film, box = case
    assert find_content_box(film) == box


@quick
@given(pixels=hnp.arrays(np.float32, (30, 20), elements=st.floats(0, 1, width=32)))
def test_the_content_box_lies_inside_the_frame_and_is_stable(pixels: npt.NDArray[np.float32]) -> None:
    box = find_content_box(pixels)
    assert 0 <= box.x0 < box.x1 <= 20
    assert 0 <= box.y0 < box.y1 <= 30


@quick
@given(
    points=hnp.arrays(np.float64, (5, 2), elements=st.floats(0, 1)),
    x0=st.integers(0, 40),
    y0=st.integers(0, 40),
    crop=st.booleans(),
)
def test_points_come_back_where_they_were(*, points: npt.NDArray[np.float64], x0: int, y0: int, crop: bool) -> None:
    frame = GreyFrame(pixels=np.zeros((90, 120), dtype=np.float32), content_box=Box(x0, y0, x0 + 70, y0 + 50))
    in_image = to_image_points(points, frame, crop=crop)
    assert (in_image >= 0).all()
    assert (in_image <= [120, 90]).all()
    assert np.allclose(to_model_points(in_image, frame, crop=crop), points, atol=1e-9)


@quick
@given(film=films, side_px=st.integers(1, 40))
def test_model_input_has_its_shape_type_and_range(film: npt.NDArray[np.uint8], side_px: int) -> None:
    pixels = model_input(read_frame(dx_from_image(film)), side_px)
    assert pixels.shape == (side_px, side_px)
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1


SMALL_FILM = dx_from_image(np.arange(120, dtype=np.uint8).reshape(12, 10))
SMALL_CT = as_bytes(ct_slice(size_px=16))
COMPRESSED = as_bytes(dx_from_image(np.arange(120, dtype=np.uint8).reshape(12, 10)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_a_pixel_error_or_a_frame(data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(data.draw(st.sampled_from([SMALL_CT, COMPRESSED])))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    path = tmp_path / "object.dcm"
    path.write_bytes(content)
    _read_or_refuse(path)


def _read_or_refuse(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of damage that it reads past
        try:
            frame = read_file_frame(path)
        except PixelError:
            return
    assert np.isfinite(frame.pixels).all()
