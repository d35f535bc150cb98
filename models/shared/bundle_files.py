"""The files of a bundle folder enter; what they hash to, or why the folder is refused, leaves.

Every bundle, whatever is in it, follows MONAI bundles: `configs/metadata.json`, graphs below `models/`, papers (model
card, licences), and SHA256SUMS, which lists every other file. Nothing else may lie in the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, Final

METADATA_FILE: Final = "configs/metadata.json"
SUMS_FILE: Final = "SHA256SUMS"
ID_DIGITS: Final = 12


class BundleErrorCode(StrEnum):
    """Why a bundle is refused."""

    MISSING_FILE = "missing-file"
    UNLISTED_FILE = "unlisted-file"
    HASH_MISMATCH = "hash-mismatch"
    BAD_SUMS = "bad-sums"
    BAD_METADATA = "bad-metadata"
    BAD_GRAPH = "bad-graph"


class BundleError(Exception):
    """The bundle cannot be used. `code` says why, `subject` names the file or field."""

    def __init__(self, code: BundleErrorCode, subject: str) -> None:
        self.code = code
        self.subject = subject
        super().__init__(f"bundle refused ({code.value}): {subject}")


def verify_files(folder: Path, required: Iterable[str] = (METADATA_FILE,)) -> str:
    """Compare every file with SHA256SUMS, which must list those `required`.

    Returns the bundle's hash, that of SHA256SUMS. Raises BundleError.
    """
    sums_path = folder / SUMS_FILE
    if not sums_path.is_file():
        raise BundleError(BundleErrorCode.MISSING_FILE, SUMS_FILE)
    sums = _read_sums(sums_path)
    for name in required:
        if name not in sums:
            raise BundleError(BundleErrorCode.MISSING_FILE, name)
    present = set(list_files(folder))
    if unlisted := sorted(present - set(sums)):
        raise BundleError(BundleErrorCode.UNLISTED_FILE, unlisted[0])
    for name, sha256 in sums.items():
        if name not in present:
            raise BundleError(BundleErrorCode.MISSING_FILE, name)
        if file_sha256(folder / name) != sha256:
            raise BundleError(BundleErrorCode.HASH_MISMATCH, name)
    return file_sha256(sums_path)


def read_metadata(folder: Path) -> dict[str, Any]:
    """Parse `configs/metadata.json`. Raises BundleError(BAD_METADATA)."""
    try:
        metadata = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise BundleError(BundleErrorCode.BAD_METADATA, METADATA_FILE) from exc
    if not isinstance(metadata, dict):
        raise BundleError(BundleErrorCode.BAD_METADATA, METADATA_FILE)
    return metadata


def bundle_id_of(name: str, bundle_sha256: str) -> str:
    """Name a bundle by what is in it: its name and the first 12 digits of its hash."""
    return f"{name}-{bundle_sha256[:ID_DIGITS]}"


def write_sums(folder: Path) -> str:
    """Write SHA256SUMS over all files of the bundle, sorted by name. Returns the bundle's hash."""
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in list_files(folder)]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")
    return file_sha256(folder / SUMS_FILE)


def list_files(folder: Path) -> list[str]:
    """Names of all files below `folder` but SHA256SUMS, with forward slashes, sorted."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != SUMS_FILE)


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_inside(name: str) -> bool:
    """Whether a name from a bundle's papers stays inside the bundle."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _read_sums(path: Path) -> dict[str, str]:
    sums: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        sha256, separator, name = line.partition("  ")
        if not separator or len(sha256) != 64 or not is_inside(name):
            raise BundleError(BundleErrorCode.BAD_SUMS, SUMS_FILE)
        sums[name] = sha256
    return sums
