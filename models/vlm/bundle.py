"""The folder of a bundle of kind "vlm" enters; its verified description and the paths of its graphs leave.

Beside the files of every bundle (models.shared.bundle_files): `models/` holds one vision graph per kind of image, the
decoder's graph, the embedding table as plain rows; `tokenizer/` holds the tokeniser files of the published folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.shared.bundle_files import (
    METADATA_FILE,
    BundleError,
    BundleErrorCode,
    bundle_id_of,
    is_inside,
    read_metadata,
    verify_files,
)
from models.vlm.engine import VlmFamily, VlmInfo
from models.vlm.sizes import TokenIds

VLM_SCHEMA: Final = 2
VLM_KIND: Final = "vlm"
DECODER_FILE: Final = "models/decoder.onnx"
EMBEDDING_FILE: Final = "models/embed_tokens.bin"
TOKENIZER_FOLDER: Final = "tokenizer"
_NARROW: Final = frozenset({"F16", "BF16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The embedding table: rows of `dtype` (as safetensors spells it), `shape` (vocabulary, width)."""

    path: Path
    dtype: str
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmBundle:
    """A verified bundle. `vision_paths` by modality; `matrix_dtype` is how the decoder keeps its matrices."""

    folder: Path
    info: VlmInfo
    ids: TokenIds
    vision_paths: Mapping[str, Path]
    decoder_path: Path
    embedding: Embedding
    matrix_dtype: str
    origin: Mapping[str, str]

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokeniser's files lie."""
        return self.folder / TOKENIZER_FOLDER

    @property
    def is_narrow(self) -> bool:
        """Whether the decoder keeps its matrices in 16 bits and widens them when used."""
        return self.matrix_dtype in _NARROW


def open_vlm_bundle(folder: Path) -> VlmBundle:
    """Verify every file of the bundle in `folder` against its hash and read its description. Raises BundleError."""
    sums_sha256 = verify_files(folder)
    metadata = read_metadata(folder)
    try:
        return _parse(folder, metadata, sums_sha256)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise BundleError(BundleErrorCode.BAD_METADATA, f"{METADATA_FILE}: {exc!r}") from exc


def _parse(folder: Path, metadata: Mapping[str, Any], sums_sha256: str) -> VlmBundle:
    section = metadata["interval"]
    if (section["schema"], section["kind"]) != (VLM_SCHEMA, VLM_KIND):
        raise ValueError(f"kind {section['kind']!r}, schema {section['schema']!r} is no vision language model")
    ids = section["ids"]
    token_ids = TokenIds(
        image=int(ids["image"]),
        vision_start=int(ids["vision_start"]),
        vision_end=int(ids["vision_end"]),
        pad=int(ids["pad"]),
        stop=tuple(int(token) for token in ids["stop"]),
    )
    table = section["embedding"]
    rows, width = (int(side) for side in table["shape"])
    return VlmBundle(
        folder=folder,
        info=_info(metadata, sums_sha256, token_ids),
        ids=token_ids,
        vision_paths={str(row["modality"]): _path(folder, row["graph"]) for row in section["families"]},
        decoder_path=_path(folder, section["graphs"]["decoder"]),
        embedding=Embedding(path=_path(folder, table["file"]), dtype=str(table["dtype"]), shape=(rows, width)),
        matrix_dtype=str(section["matrix_dtype"]),
        origin={str(key): str(value) for key, value in section.get("origin", {}).items()},
    )


def _info(metadata: Mapping[str, Any], sums_sha256: str, ids: TokenIds) -> VlmInfo:
    section = metadata["interval"]
    vocabulary, width = section["embedding"]["shape"]
    return VlmInfo(
        bundle_id=bundle_id_of(str(metadata["name"]), sums_sha256),
        name=str(metadata["name"]),
        version=str(metadata["version"]),
        bundle_sha256=sums_sha256,
        families=tuple(
            VlmFamily(modality=str(row["modality"]), router=int(row["router"]), depth=int(row["depth"]))
            for row in section["families"]
        ),
        input_side_px=int(section["input_side_px"]),
        grid_side=int(section["grid_side"]),
        feature_width=int(width),
        vocabulary=int(vocabulary),
        max_tokens=int(section["max_tokens"]),
        stop_ids=ids.stop,
    )


def _path(folder: Path, name: str) -> Path:
    """Find a file that the metadata name. Raises BundleError: missing-file; ValueError where it lies outside."""
    if not is_inside(name):
        raise ValueError("a file name that leaves the bundle")
    if not (folder / name).is_file():
        raise BundleError(BundleErrorCode.MISSING_FILE, name)
    return folder / name
