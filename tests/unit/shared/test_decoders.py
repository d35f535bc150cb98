"""Decoders: one for every syntax that is accepted, all of them outlive damaged input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless

from models.shared.pixels import PixelError, PixelErrorCode, read_frame
from models.shared.pixels.decoders import DECODERS, is_decodable
from tests.support.objects import dx_from_image, save
from tests.support.transcoding import LOSSLESS_SYNTAXES, LOSSY_SYNTAXES, missing_program, transcoded

FILM = np.random.default_rng(5).integers(0, 4096, (60, 50)).astype(np.uint16)
SMOOTH = (np.hypot(*np.mgrid[-1:1:96j, -1:1:80j]) * 150).astype(np.uint8)
COMPRESSED = [uid for uid in LOSSLESS_SYNTAXES + LOSSY_SYNTAXES if uid.is_encapsulated]


def compressed(syntax: UID, folder: Path, *, eight_bits: bool = False) -> Path:
    """A film in a transfer syntax, or skip where its encoder is not installed."""
    if program := missing_program(syntax):
        pytest.skip(f"{program} (dcmtk) is not installed")
    film = dx_from_image(SMOOTH) if eight_bits else dx_from_image(FILM, BitsStored=12, HighBit=11)
    return transcoded(save(film, folder / "film.dcm"), syntax, folder)


@pytest.mark.parametrize("syntax", DECODERS, ids=lambda syntax: syntax.keyword)
def test_every_decoder_that_is_named_is_installed(syntax: UID) -> None:
    assert DECODERS[syntax] in get_decoder(syntax).available_plugins
    assert is_decodable(syntax)


def test_no_decoder_is_gdcm_which_ends_the_process_on_damaged_input() -> None:
    assert "gdcm" not in DECODERS.values()


@pytest.mark.peer
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless], ids=lambda s: s.keyword)
def test_a_jpeg_frame_without_its_end_is_truncated_and_never_filled_with_grey(syntax: UID, tmp_path: Path) -> None:
    ds = pydicom.dcmread(compressed(syntax, tmp_path, eight_bits=True))
    codestream = get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData = encapsulate([codestream[: len(codestream) // 2]])
    ds["PixelData"].is_undefined_length = True
    with pytest.raises(PixelError) as caught:
        read_frame(ds)
    assert caught.value.code is PixelErrorCode.TRUNCATED


@pytest.mark.peer
def test_a_codestream_with_more_colours_than_the_header_says_cannot_be_decoded(tmp_path: Path) -> None:
    ds = pydicom.dcmread(compressed(JPEGLosslessSV1, tmp_path, eight_bits=True))
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL", 0
    with pytest.raises(PixelError) as caught:
        read_frame(ds)
    assert caught.value.code is PixelErrorCode.DECODE_FAILED


@pytest.mark.peer
def test_lossless_colours_come_back_as_they_were(tmp_path: Path) -> None:
    if program := missing_program(JPEGLosslessSV1):
        pytest.skip(f"{program} (dcmtk) is not installed")
    colours = np.random.default_rng(7).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    original = dx_from_image(colours[:, :, 0])
    original.SamplesPerPixel, original.PhotometricInterpretation, original.PlanarConfiguration = 3, "RGB", 0
    original.PixelData = colours.tobytes()
    path = transcoded(save(original, tmp_path / "colour.dcm"), JPEGLosslessSV1, tmp_path)
    assert np.array_equal(read_frame(pydicom.dcmread(path)).pixels, read_frame(original).pixels)


@pytest.mark.peer
def test_damaged_pixel_data_never_end_the_process(tmp_path: Path) -> None:
    files = []
    for syntax in COMPRESSED:
        eight_bits = syntax == JPEGBaseline8Bit
        (folder := tmp_path / syntax.keyword).mkdir()
        files.append(str(compressed(syntax, folder, eight_bits=eight_bits)))
    command = [sys.executable, "-m", "tests.support.damage", "150", "1", *files]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, f"ended with {run.returncode}"
    seen = json.loads(run.stdout)
    assert len(seen) == len(COMPRESSED)
    for outcomes in seen.values():
        assert sum(outcomes.values()) == 150
        assert outcomes.get("decode-failed", 0) + outcomes.get("truncated", 0) > 0


def test_eight_bits_in_the_extended_syntax_are_read_too(tmp_path: Path) -> None:
    path = compressed(JPEGBaseline8Bit, tmp_path, eight_bits=True)
    ds = pydicom.dcmread(path)
    expected = read_frame(ds).pixels
    ds.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    assert read_frame(ds).pixels == pytest.approx(expected, abs=2 / 255)
