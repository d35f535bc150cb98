"""A bundle folder enters; its verified description and the paths of its graphs leave.

Layout (after MONAI bundles): `configs/metadata.json`, `models/encoder.onnx`, `models/fusion.onnx`,
`train_manifest.csv`, `SHA256SUMS`, and papers (model card, licences). SHA256SUMS lists every other file; nothing else
may lie in the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from models.encoder.engine import BundleInfo, ServedEntity
from models.shared.vocabulary import EntityKind, UnknownEntityError, load_vocabulary

METADATA_FILE: Final = "configs/metadata.json"
ENCODER_FILE: Final = "models/encoder.onnx"
FUSION_FILE: Final = "models/fusion.onnx"
MANIFEST_FILE: Final = "train_manifest.csv"
SUMS_FILE: Final = "SHA256SUMS"
BUNDLE_SCHEMA: Final = 1
_ID_DIGITS: Final = 12


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Platt scaling of one entity: probability = sigmoid(slope * logit + intercept)."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    info: BundleInfo
    calibration: Mapping[int, Calibration]

    @property
    def encoder_path(self) -> Path:
        """Graph: image to tokens."""
        return self.folder / ENCODER_FILE

    @property
    def fusion_path(self) -> Path:
        """Graph: tokens and entity rows to readings."""
        return self.folder / FUSION_FILE

    @property
    def manifest_path(self) -> Path:
        """Images that were trained or tuned on; evaluation leaves their patients out."""
        return self.folder / MANIFEST_FILE


def open_bundle(folder: Path) -> Bundle:
    """Verify every file of the bundle in `folder` against its hash and read its description. Raises BundleError."""
    sums_sha256 = verify_files(folder)
    try:
        metadata = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise BundleError(BundleErrorCode.BAD_METADATA, METADATA_FILE) from exc
    try:
        return _parse(folder, metadata, sums_sha256)
    except (KeyError, TypeError, ValueError, UnknownEntityError) as exc:
        raise BundleError(BundleErrorCode.BAD_METADATA, f"{METADATA_FILE}: {exc!r}") from exc


def verify_files(folder: Path) -> str:
    """Compare every file with SHA256SUMS. Returns the bundle's hash, that of SHA256SUMS. Raises BundleError."""
    sums_path = folder / SUMS_FILE
    if not sums_path.is_file():
        raise BundleError(BundleErrorCode.MISSING_FILE, SUMS_FILE)
    sums = _read_sums(sums_path)
    for name in (METADATA_FILE, ENCODER_FILE, FUSION_FILE, MANIFEST_FILE):
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


def _read_sums(path: Path) -> dict[str, str]:
    sums: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        sha256, separator, name = line.partition("  ")
        if not separator or len(sha256) != 64 or Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(BundleErrorCode.BAD_SUMS, SUMS_FILE)
        sums[name] = sha256
    return sums


def _parse(folder: Path, metadata: Mapping[str, Any], sums_sha256: str) -> Bundle:
    section = metadata["interval"]
    if section["schema"] != BUNDLE_SCHEMA:
        raise ValueError(f"schema {section['schema']} is not {BUNDLE_SCHEMA}")
    rows = section["entities"]
    info = BundleInfo(
        bundle_id=f"{metadata['name']}-{sums_sha256[:_ID_DIGITS]}",
        name=str(metadata["name"]),
        version=str(metadata["version"]),
        bundle_sha256=sums_sha256,
        modality=str(section["modality"]),
        dicom_modalities=tuple(section["dicom_modalities"]),
        entities=tuple(_served_entity(row, section["modality"]) for row in rows),
        input_side_px=int(section["input_side_px"]),
        grid_side=int(section["grid_side"]),
        token_width=int(section["token_width"]),
        embedding_width=int(section["embedding_width"]),
    )
    calibration = {
        int(row["index"]): Calibration(
            slope=float(row["calibration"]["slope"]), intercept=float(row["calibration"]["intercept"])
        )
        for row in rows
    }
    return Bundle(folder=folder, info=info, calibration=calibration)


def _served_entity(row: Mapping[str, Any], modality: str) -> ServedEntity:
    entity = load_vocabulary().entity(int(row["index"]))
    if (entity.name, entity.modality) != (row["name"], modality):
        raise ValueError(f"entity {entity.index} of the vocabulary is not {row['name']!r}")
    absent, present = float(row["threshold_absent"]), float(row["threshold_present"])
    if not 0 <= absent <= present <= 1:
        raise ValueError(f"entity {entity.index}: thresholds out of order")
    return ServedEntity(
        index=entity.index,
        name=entity.name,
        kind=EntityKind(entity.kind),
        anatomy=entity.anatomy,
        threshold_present=present,
        threshold_absent=absent,
        auroc=float(row["auroc"]),
        auroc_lo=float(row["auroc_lo"]),
        auroc_hi=float(row["auroc_hi"]),
        n_positive=int(row["n_positive"]),
        n_images=int(row["n_images"]),
    )
