"""Which decoder serves which compressed transfer syntax: a UID enters, the name of a pydicom plugin leaves.

One decoder per syntax, so that a film gives the same values on every machine whatever else is installed there, and
only decoders that outlive damaged input: GDCM and pylibjpeg's RLE end the whole process on some of it.
"""

from collections.abc import Mapping

import imagecodecs
import numpy as np
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

_TURBO = "interval-jpeg"
_TURBO_SYNTAXES = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)

DECODERS: Mapping[UID, str] = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: _TURBO,
    JPEGLossless: _TURBO,
    JPEGLosslessSV1: _TURBO,
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pydicom",
}

# What pydicom asks of a module of decoders (its guide "Pixel Data decoder plugins").
DECODER_DEPENDENCIES: Mapping[UID, tuple[str, ...]] = dict.fromkeys(_TURBO_SYNTAXES, ("imagecodecs>=2026.3",))


def is_available(uid: str) -> bool:
    """Whether this module's own decoder serves a transfer syntax here."""
    return uid in DECODER_DEPENDENCIES and bool(imagecodecs.JPEG8.available)


def is_decodable(uid: UID) -> bool:
    """Whether pixel data of a transfer syntax can be read: native, or compressed with a decoder that is installed."""
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        return False
    return not uid.is_encapsulated or DECODERS.get(uid) in decoder.available_plugins


def decode_jpeg(src: bytes, runner: DecodeRunner) -> bytes:
    """Decode a lossless or a 12-bit JPEG frame with libjpeg-turbo, colours as they are stored.

    Raises
    ------
    ValueError
        The codestream has another shape than the header says.
    RuntimeError
        The codestream cannot be decoded.
    """
    colours = "RGB" if runner.samples_per_pixel == 3 else None  # the same before and after: nothing is converted
    values = imagecodecs.jpeg8_decode(src, colorspace=colours, outcolorspace=colours)
    samples = values.shape[2] if values.ndim == 3 else 1
    if values.shape[:2] != (runner.rows, runner.columns) or samples != runner.samples_per_pixel:
        raise ValueError("the codestream has another shape than the header says")
    runner.set_option("bits_allocated", values.dtype.itemsize * 8)
    runner.set_option("planar_configuration", 0)
    return np.ascontiguousarray(values).tobytes()


for _uid in _TURBO_SYNTAXES:
    if _TURBO not in get_decoder(_uid).available_plugins:
        get_decoder(_uid).add_plugin(_TURBO, (__name__, decode_jpeg.__name__))
