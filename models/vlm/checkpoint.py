"""A published folder enters; its tensors leave one at a time, under one set of names, never the whole file in memory.

Reads safetensors (https://github.com/huggingface/safetensors, format section) as plain bytes: an 8-byte length, a JSON
header, the tensors. Nothing is unpickled, nothing is mapped, so memory is what one read returns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from models.shared.checkpoints import CheckpointError
from models.vlm.sizes import HEAD, TEXT, VISION

SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
_HEADER_LIMIT_BYTES: Final = 100_000_000  # the format's own limit
_COPY_BYTES: Final = 1 << 24
_STORED: Final[dict[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F64": np.dtype("<f8"),
}
_PREFIXES: Final = (  # longest first: `model.` alone would swallow the others
    ("model.visual.ctvit.", VISION),
    ("visual.ctvit.", VISION),
    ("model.language_model.", TEXT),
    ("model.", TEXT),
)
_KNOWN_UNUSED: Final = re.compile(
    r"vision\..*\.context_norm\.(gamma|beta)|vision\.to_pixels(_first_frame)?\.0\.(weight|bias)"
    r"|text\.(.*\.)?rotary_emb\.inv_freq"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """One tensor of a file: `dtype` as the format spells it, its bytes from `start`."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def byte_count(self) -> int:
        """Bytes in the file."""
        return prod(self.shape) * _STORED[self.dtype].itemsize

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Rows of the first axis as stored; BF16 as its 16 bits. A vector or scalar has no rows: use `read`."""
        row_length = prod(self.shape[1:])
        stored = _STORED[self.dtype]
        offset = self.start + start * row_length * stored.itemsize
        flat: NDArray[Any] = np.fromfile(self.path, dtype=stored, count=(stop - start) * row_length, offset=offset)
        return flat.reshape(stop - start, *self.shape[1:])

    def read(self) -> NDArray[Any]:
        """Read the whole tensor as stored; BF16 as its 16 bits."""
        flat: NDArray[Any] = np.fromfile(
            self.path, dtype=_STORED[self.dtype], count=prod(self.shape), offset=self.start
        )
        return flat.reshape(self.shape)

    def read_float32(self) -> NDArray[np.float32]:
        """Read the whole tensor as float32."""
        return as_float32(self.read(), self.dtype)

    def copy_to(self, target: BinaryIO) -> None:
        """Append the stored bytes to `target`, a piece at a time."""
        with self.path.open("rb") as source:
            source.seek(self.start)
            left = self.byte_count
            while left:
                piece = source.read(min(left, _COPY_BYTES))
                if not piece:
                    raise CheckpointError("truncated-file", [self.path.name])
                target.write(piece)
                left -= len(piece)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmCheckpoint:
    """The tensors of a model by canonical name (`vision.*`, `text.*`, `lm_head.weight`)."""

    tensors: Mapping[str, StoredTensor]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape by canonical name."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def as_float32(stored: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Values of a stored array. A bfloat16 is the upper half of a float32."""
    if dtype == "BF16":
        widened: NDArray[np.float32] = (stored.astype(np.uint32) << 16).view(np.float32)
        return widened
    return stored.astype(np.float32, copy=False)


def open_checkpoint(place: Path) -> VlmCheckpoint:
    """Open a folder (one file, or shards with their index) or one safetensors file.

    Raises CheckpointError: missing-file, bad-index, not-safetensors, truncated-file, unsupported-type, missing-key,
    unknown-key (a name of neither layout), duplicate-key.
    """
    tensors: dict[str, StoredTensor] = {}
    for path, expected in _files(place).items():
        found = dict(_read_header(path))
        if missing := expected - set(found):
            raise CheckpointError("missing-key", missing)
        for key, tensor in found.items():
            name = canonical_name(key)
            if name in tensors:
                raise CheckpointError("duplicate-key", [key])
            tensors[name] = tensor
    return VlmCheckpoint(tensors=tensors)


def canonical_name(key: str) -> str:
    """Name of a tensor in either layout, in memory or as published. Raises CheckpointError: unknown-key."""
    plain = key.removeprefix("module.")
    if plain == HEAD:
        return plain
    for prefix, canonical in _PREFIXES:
        if plain.startswith(prefix):
            return canonical + plain.removeprefix(prefix)
    raise CheckpointError("unknown-key", [key])


def check_names(shapes: Mapping[str, tuple[int, ...]], needed: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Compare a checkpoint with what the model needs. Returns the names known to be unused.

    Raises CheckpointError: missing-key, unknown-key, wrong-shape.
    """
    if missing := set(needed) - set(shapes):
        raise CheckpointError("missing-key", missing)
    extra = set(shapes) - set(needed)
    unused = {name for name in extra if _KNOWN_UNUSED.fullmatch(name)}
    if unknown := extra - unused:
        raise CheckpointError("unknown-key", unknown)
    if wrong := [name for name, shape in needed.items() if tuple(shapes[name]) != tuple(shape)]:
        raise CheckpointError("wrong-shape", wrong)
    return tuple(sorted(unused))


def _files(place: Path) -> dict[Path, set[str]]:
    """Files to read, each with the keys that the index promises in it."""
    if place.is_file():
        return {place: set()}
    if not (place / INDEX_FILE).is_file():
        if not (place / SINGLE_FILE).is_file():
            raise CheckpointError("missing-file", [SINGLE_FILE])
        return {place / SINGLE_FILE: set()}
    try:
        weight_map = json.loads((place / INDEX_FILE).read_text(encoding="utf-8"))["weight_map"]
        entries = [(str(key), str(name)) for key, name in weight_map.items()]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as exc:
        raise CheckpointError("bad-index", [INDEX_FILE]) from exc
    files: dict[Path, set[str]] = {}
    for key, name in entries:
        if Path(name).name != name:
            raise CheckpointError("bad-index", [INDEX_FILE])
        if not (place / name).is_file():
            raise CheckpointError("missing-file", [name])
        files.setdefault(place / name, set()).add(key)
    return files


def _read_header(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > _HEADER_LIMIT_BYTES:
            raise CheckpointError("not-safetensors", [path.name])
        raw = file.read(length)
    if len(raw) < length:
        raise CheckpointError("truncated-file", [path.name])
    try:
        header = json.loads(raw)
        rows = [
            (key, row["dtype"], row["shape"], row["data_offsets"]) for key, row in header.items() if key[:2] != "__"
        ]
    except (UnicodeDecodeError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as exc:
        raise CheckpointError("not-safetensors", [path.name]) from exc
    for key, dtype, shape, offsets in rows:
        if dtype not in _STORED:
            raise CheckpointError("unsupported-type", [key])
        yield key, _tensor(path, dtype, shape, offsets, span=(8 + length, size))


def _tensor(path: Path, dtype: str, shape: Any, offsets: Any, *, span: tuple[int, int]) -> StoredTensor:
    """One row of the header; `span` is where the file's data begin and end."""
    first, size = span
    try:
        begin, end = (int(offset) for offset in offsets)
        tensor = StoredTensor(path=path, dtype=dtype, shape=tuple(int(side) for side in shape), start=first + begin)
    except (TypeError, ValueError) as exc:
        raise CheckpointError("not-safetensors", [path.name]) from exc
    if begin < 0 or min(tensor.shape, default=0) < 0 or end - begin != tensor.byte_count:
        raise CheckpointError("not-safetensors", [path.name])
    if first + end > size:
        raise CheckpointError("truncated-file", [path.name])
    return tensor
