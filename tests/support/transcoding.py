"""The same object in every usual transfer syntax: a DICOM file enters, a file re-encoded by another program leaves.

dcmtk's command-line tools encode what they can, pydicom with OpenJPEG the JPEG 2000 syntaxes. UIDs stay as they are.
"""

import shutil
import subprocess
from pathlib import Path

import pydicom
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

_COMMANDS: dict[UID, tuple[str, ...]] = {
    ImplicitVRLittleEndian: ("dcmconv", "+ti"),
    ExplicitVRLittleEndian: ("dcmconv", "+te"),
    ExplicitVRBigEndian: ("dcmconv", "+tb"),
    DeflatedExplicitVRLittleEndian: ("dcmconv", "+td"),
    RLELossless: ("dcmcrle", "+un"),
    JPEGBaseline8Bit: ("dcmcjpeg", "+eb", "+un"),
    JPEGExtended12Bit: ("dcmcjpeg", "+ee", "+un"),
    JPEGLossless: ("dcmcjpeg", "+el", "+un"),
    JPEGLosslessSV1: ("dcmcjpeg", "+e1", "+un"),
    JPEGLSLossless: ("dcmcjpls", "+el", "+un"),
    JPEGLSNearLossless: ("dcmcjpls", "+en", "+md", "2", "+un"),
}
LOSSLESS_SYNTAXES: tuple[UID, ...] = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
)
LOSSY_SYNTAXES: tuple[UID, ...] = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)


def missing_program(syntax: UID) -> str | None:
    """Name of the program that `transcoded` needs for `syntax` and that is not installed; None if it can run."""
    command = _COMMANDS.get(syntax)
    return command[0] if command and shutil.which(command[0]) is None else None


def transcoded(path: Path, syntax: UID, folder: Path) -> Path:
    """Re-encode a file as `syntax` into `folder`; returns the new file's path. Raises CalledProcessError."""
    target = folder / f"{path.stem}_{syntax.keyword}.dcm"
    if command := _COMMANDS.get(syntax):
        subprocess.run([*command, str(path), str(target)], check=True, capture_output=True, timeout=60)
        return target
    ds = pydicom.dcmread(path)
    ratios = None if syntax == JPEG2000Lossless else [8.0]
    ds.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False, j2k_cr=ratios)
    ds.save_as(target, enforce_file_format=True)
    return target
