"""The published preprocessing, case by case against arrays made by the published code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.shared.pixels import PixelError, PixelErrorCode
from models.shared.volumes import VolumeError, VolumeErrorCode, reference_input

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "medreco_parity"
CASES: dict[str, dict[str, Any]] = json.loads((FIXTURES / "preprocessing_manifest.json").read_text())["cases"]
ARRAYS = np.load(FIXTURES / "preprocessing.npz")


def names(prefix: str) -> list[str]:
    return [name for name in CASES if name.startswith(prefix)]


def test_every_case_is_compared() -> None:
    assert len(names("2d")) + len(names("ct")) + len(names("mri")) == len(CASES) == 17


@pytest.mark.parametrize("name", names("2d"))
@pytest.mark.parametrize("modality", ["2D-CXR", "2D-Ultrasound"])
def test_a_film_is_exactly_the_published_one(name: str, modality: str) -> None:
    made = reference_input(FIXTURES / CASES[name]["file"], modality)
    assert list(made.shape) == CASES[name]["output_shape"]
    assert made.dtype == np.float32
    assert (np.rint(made[0, 0] * 255) == ARRAYS[f"{name}_u8"]).all()
    assert (made[0, 0] == ARRAYS[f"{name}_u8"].astype(np.float32) / np.float32(255)).all()


@pytest.mark.parametrize("name", names("ct"))
def test_a_ct_is_the_published_one(name: str) -> None:
    case, block, offset = CASES[name], ARRAYS[f"{name}_block"], ARRAYS[f"{name}_offset"]
    assert (list(offset), list(block.shape)) == (case["block_offset_dhw"], case["block_shape"])
    made = reference_input(FIXTURES / case["file"], "3D-CT")
    assert list(made.shape) == case["output_shape"]
    assert float(made.sum(dtype=np.float64)) == pytest.approx(case["sum"], abs=2e-6 * block.size)
    place = tuple(slice(start, start + size) for start, size in zip(offset, block.shape, strict=True))
    assert np.abs(made[0][place] - block).max() <= 2e-6
    made[0][place] = case["outside_block"]
    assert (made == case["outside_block"]).all()


@pytest.mark.parametrize("name", names("mri"))
def test_an_mri_is_the_published_one(name: str) -> None:
    expected = ARRAYS[name]
    made = reference_input(FIXTURES / CASES[name]["file"], "3D-Brain-MRI")
    assert list(made.shape) == CASES[name]["output_shape"] == list(expected.shape)
    assert made.dtype == np.float32
    assert np.abs(made - expected).max() <= 2e-6 * np.abs(expected).max()


def test_a_smaller_ct_input_keeps_the_middle_and_its_own_padding() -> None:
    path = FIXTURES / CASES["ct_small_odd"]["file"]
    whole = reference_input(path, "3D-CT")[0]
    small = reference_input(path, "3D-CT", depth=20, side_px=24, pad_value=0.0)[0]
    # 18 x 28 x 22 of data: 18 of 20 with one padded slice on either side, 24 of 28 rows, 22 of 24 columns
    assert (small[1:19, :, 1:23] == whole[111:129, 228:252, 229:251]).all()
    assert not small[0].any()
    assert not small[:, :, 23].any()


@pytest.mark.parametrize("modality", ["", "3D", "CT", "D-C", "3d-ct"])
def test_a_modality_is_compared_whole(modality: str) -> None:
    with pytest.raises(VolumeError) as caught:
        reference_input(FIXTURES / CASES["ct_small_odd"]["file"], modality)
    assert caught.value.code is VolumeErrorCode.WRONG_MODALITY


def test_what_is_no_image_is_refused_and_not_taken_for_black(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"no image")
    with pytest.raises(PixelError) as caught:
        reference_input(path, "2D-CXR")
    assert caught.value.code is PixelErrorCode.NOT_AN_IMAGE


def test_an_image_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes((FIXTURES / CASES["2d_rgba"]["file"]).read_bytes()[:5000])
    with pytest.raises(PixelError) as caught:
        reference_input(path, "2D-CXR")
    assert caught.value.code is PixelErrorCode.DECODE_FAILED
