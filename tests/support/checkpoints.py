"""Checkpoints for tests of the import: the tiny reference checkpoint, changed and written anew without torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCE = Path(__file__).parents[1] / "fixtures" / "medreco_parity" / "retrieval.safetensors"
SIDE_PX = 80
TOP_K = 6
_KINDS: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "BOOL": np.dtype("?"),
}

Tensors = dict[str, NDArray[Any]]


def read_checkpoint(path: Path = REFERENCE) -> Tensors:
    """All tensors of a safetensors file by name."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = {key: row for key, row in json.loads(raw[8:start]).items() if not key.startswith("__")}
    return {
        key: np.frombuffer(
            raw, dtype=_KINDS[row["dtype"]], offset=start + row["data_offsets"][0], count=_count(row)
        ).reshape(row["shape"])
        for key, row in header.items()
    }


def write_checkpoint(path: Path, tensors: Mapping[str, NDArray[Any]]) -> Path:
    """Write tensors as one safetensors file."""
    names = {kind: name for name, kind in _KINDS.items()}
    header: dict[str, dict[str, Any]] = {}
    parts, end = [], 0
    for key, value in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        data = np.ascontiguousarray(value).tobytes()
        header[key] = {"dtype": names[value.dtype], "shape": value.shape, "data_offsets": [end, end + len(data)]}
        parts.append(data)
        end += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
    return path


def write_parts(folder: Path, tensors: Mapping[str, NDArray[Any]], count: int = 3) -> Path:
    """Write tensors as a folder of `count` safetensors files with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    weight_map: dict[str, str] = {}
    for part in range(count):
        name = f"model-{part + 1:05}-of-{count:05}.safetensors"
        own = dict(sorted(tensors.items())[part::count])
        write_checkpoint(folder / name, own)
        weight_map |= dict.fromkeys(own, name)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def _count(row: Mapping[str, Any]) -> int:
    return int(np.prod(row["shape"], dtype=np.int64))
