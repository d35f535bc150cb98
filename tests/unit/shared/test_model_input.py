"""The model's 2D input: exact against the published preprocessing, cropped by default, and mapped back to the image."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.shared.pixels import (
    Box,
    GreyFrame,
    PixelError,
    PixelErrorCode,
    model_input,
    read_file_frame,
    read_frame,
    read_image_file,
    to_image_points,
    to_model_points,
)
from tests.support.objects import dx_from_image, save

FIXTURES = Path(__file__).parents[2] / "fixtures" / "preprocessing"
EXPECTED = json.loads((FIXTURES / "expected_2d.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_input_without_crop_is_exactly_the_published_preprocessing(case: str) -> None:
    pixels = model_input(read_image_file(FIXTURES / f"{case}.png"), 480, crop=False)

    as_integers = np.rint(pixels * 255).astype(np.uint8)
    expected = EXPECTED[case]
    assert as_integers.sum() == expected["sum"]
    assert hashlib.sha256(as_integers.tobytes()).hexdigest() == expected["sha256"]
    assert np.array_equal(pixels, as_integers.astype(np.float32) / np.float32(255))


def test_a_film_gives_the_same_input_as_image_and_as_dicom(tmp_path: Path) -> None:
    grey = FIXTURES / "2d_gray_480.png"
    as_dicom = read_file_frame(save(dx_from_image(grey), tmp_path / "film.dcm"))

    assert np.array_equal(model_input(as_dicom, 224), model_input(read_image_file(grey), 224))


def test_crop_removes_a_burnt_border_and_its_marker() -> None:
    rng = np.random.default_rng(0)
    film = np.zeros((200, 300), dtype=np.float32)
    film[20:180, 40:250] = rng.uniform(0.2, 0.8, (160, 210))
    film[3:6, 3:6] = 1  # a side marker burnt into the border
    frame = _read(film)

    assert frame.content_box == Box(40, 20, 250, 180)
    assert model_input(frame, 64).min() >= 0.15
    assert model_input(frame, 64, crop=False).min() == 0


def test_a_bright_border_is_content_no_more_than_a_dark_one() -> None:
    film = np.full((100, 100), 0.5, dtype=np.float32)
    film[:10] = 1
    assert _read(film).content_box == Box(0, 10, 100, 100)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_constant_image_keeps_its_whole_frame(level: float) -> None:
    assert _read(np.full((40, 60), level, dtype=np.float32)).content_box == Box(0, 0, 60, 40)


def test_content_smaller_than_a_quarter_is_not_believed() -> None:
    film = np.zeros((100, 100), dtype=np.float32)
    film[40:55, 40:55] = 0.5
    assert _read(film).content_box == Box(0, 0, 100, 100)


def test_corners_of_the_input_are_the_corners_of_the_content_in_scoord_convention() -> None:
    frame = GreyFrame(pixels=np.zeros((200, 300), dtype=np.float32), content_box=Box(40, 20, 250, 180))

    assert to_image_points([(0, 0), (1, 1), (0.5, 0.5)], frame).tolist() == [[40, 20], [250, 180], [145, 100]]
    assert to_image_points([(0, 0), (1, 1)], frame, crop=False).tolist() == [[0, 0], [300, 200]]
    assert to_model_points([(40, 20), (250, 180)], frame).tolist() == [[0, 0], [1, 1]]


def test_a_bright_spot_of_the_input_maps_back_to_where_it_is_in_the_image() -> None:
    film = np.full((400, 300), 0.3, dtype=np.float32)
    film[:50] = 0
    film[240:260, 90:110] = 1  # centre: column 100, row 250
    frame = _read(film)

    pixels = model_input(frame, 96)
    row, column = np.unravel_index(pixels.argmax(), pixels.shape)
    spot = np.argwhere(pixels > 0.9).mean(axis=0)[::-1]
    assert pixels[row, column] > 0.9
    assert to_image_points([(spot + 0.5) / 96], frame)[0] == pytest.approx([100, 250], abs=2)


def test_a_sixteen_bit_png_is_scaled_and_not_saturated(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")

    assert read_image_file(tmp_path / "ramp.png").pixels == pytest.approx(ramp / 65535, abs=1e-4)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n but no more"])
def test_a_file_that_is_no_image_is_refused_with_a_code(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(content)
    with pytest.raises(PixelError) as caught:
        read_image_file(path)
    assert caught.value.code in {PixelErrorCode.NOT_AN_IMAGE, PixelErrorCode.DECODE_FAILED}


def test_a_truncated_jpeg_is_refused_rather_than_half_read(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(PixelError) as caught:
        read_image_file(path)
    assert caught.value.code is PixelErrorCode.DECODE_FAILED


def test_deeper_values_are_rounded_to_the_nearest_of_eight_bits() -> None:
    levels = np.tile(np.array([100.4 / 255, 100.6 / 255, 254.7 / 255], dtype=np.float32), (3, 1))
    frame = GreyFrame(pixels=levels, content_box=Box(0, 0, 3, 3))
    assert np.rint(model_input(frame, 3)[0] * 255).tolist() == [100, 101, 255]


def _read(film: np.ndarray) -> GreyFrame:
    """Frame of a film in [0, 1], through the DICOM reader and its content box."""
    return read_frame(dx_from_image(np.rint(film * 255).astype(np.uint8)))
