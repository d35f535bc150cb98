"""Which programs a test or the demo needs, and what happens where they are missing.

A test that lacks one is skipped; a command ends with exit code 3; both say in one sentence what to install.
"""

import shutil
import sys
import unittest
from pathlib import Path

_SBIN = "/usr/sbin"
# What is asked for -> the Debian package that brings it.
_PACKAGES = {
    "Orthanc": "orthanc",
    "libOrthancDicomWeb.so": "orthanc-dicomweb",
    "pixelmed.jar": "libpixelmed-java",
    "java": "default-jre-headless",
    "openssl": "openssl",
    "chromium": "chromium",
    "pdftotext": "poppler-utils",
    "pdftoppm": "poppler-utils",
    "dciodvfy": "dicom3tools",
    "dcentvfy": "dicom3tools",
}
_DEFAULT_PACKAGE = "dcmtk"
_FOLDERS = {
    "libOrthancDicomWeb.so": Path("/usr/share/orthanc/plugins"),
    "pixelmed.jar": Path("/usr/share/java"),
}


def find(program: str) -> str | None:
    """Return the path of a program, plug-in or Java library of `_PACKAGES`, None where it is missing."""
    if program in _FOLDERS:
        path = _FOLDERS[program] / program
        return str(path) if path.exists() else None
    return shutil.which(program) or shutil.which(program, path=_SBIN)


def path_of(program: str) -> str:
    """Return the path of a program that `require` found. Raises FileNotFoundError where it is missing after all."""
    found = find(program)
    if found is None:
        raise FileNotFoundError(what_is_missing([program]))
    return found


def what_is_missing(programs: list[str]) -> str:
    """Return the sentence that names missing programs and their Debian packages."""
    packages = sorted({_PACKAGES.get(program, _DEFAULT_PACKAGE) for program in programs})
    return f"Missing: {', '.join(programs)}; on Debian: apt-get install {' '.join(packages)}."


def require(*programs: str) -> None:
    """Skip the test or module unless all programs are there."""
    missing = [program for program in programs if find(program) is None]
    if missing:
        raise unittest.SkipTest(what_is_missing(missing))  # pytest takes it as a skip; the demo runs without pytest


def require_or_exit(*programs: str) -> None:
    """End a command with exit code 3 (a prerequisite is missing) unless all programs are there."""
    missing = [program for program in programs if find(program) is None]
    if missing:
        print(what_is_missing(missing), file=sys.stderr)
        sys.exit(3)
