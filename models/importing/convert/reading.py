"""The path of a checkpoint enters; its tensors leave, mapped from the file, never unpickled as anything but weights.

Read are one safetensors file, a folder of safetensors parts with their index, and a torch file that holds
`{model, optim, step}`, `{model}`, or the state dict itself. A folder may also hold one such file.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.importing.facts import SourceFacts
from models.importing.refusals import ImportRefusedError, refused
from models.shared.bundle_files import file_sha256
from models.shared.checkpoints import CheckpointError, strip_module_prefix

_INDEX_ENDING: Final = ".safetensors.index.json"
_TORCH_ENDINGS: Final = (".pt", ".pth", ".bin", ".ckpt")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_HEADER_LIMIT_BYTES: Final = 100_000_000  # safetensors' own limit
_WRAPPERS: Final = ("model", "state_dict")
_DAMAGE: Final = (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, struct.error)
_VLM_PREFIXES: Final = ("visual.ctvit.", "model.visual.ctvit.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A checkpoint that was read. `sha256` is that of its one file, or of the list of its parts' hashes and names."""

    name: str
    sha256: str
    state: Mapping[str, Tensor]
    not_tensors: tuple[str, ...]

    @property
    def facts(self) -> SourceFacts:
        """What the papers tell of it."""
        return SourceFacts(name=self.name, sha256=self.sha256)

    @property
    def is_vlm(self) -> bool:
        """Whether it is of the vision language model, not of the retrieval model."""
        return any(key.startswith(_VLM_PREFIXES) for key in self.state)


def read_source(path: Path) -> Source:
    """Read the checkpoint at `path`. Raises ImportRefusedError."""
    name = path.resolve().name
    try:
        files = _files(path)
        loaded = _read_files(files)
        sha256 = _sha256(files)
    except CheckpointError as exc:
        raise refused(name, exc) from exc
    except OSError as exc:
        raise ImportRefusedError("unreadable", f"{name} cannot be read ({type(exc).__name__}).") from exc
    state = strip_module_prefix({key: value for key, value in loaded.items() if isinstance(value, Tensor)})
    if not state:
        raise ImportRefusedError("no-tensors", f"{name} is not a checkpoint: it holds no tensors by name.")
    others = tuple(sorted(key for key, value in loaded.items() if not isinstance(value, Tensor)))
    return Source(name=name, sha256=sha256, state=state, not_tensors=others)


def _files(path: Path) -> dict[Path, set[str]]:
    """Files to read, each with the keys that an index promises in it."""
    if path.is_file():
        return {path: set()}
    if not path.is_dir():
        raise CheckpointError("missing-file", [path.name])
    indexes = sorted(path.glob(f"*{_INDEX_ENDING}"))
    if indexes:
        return _indexed(indexes[0])
    by_kind = [sorted(path.glob("*.safetensors")), sorted(file for file in path.iterdir() if _looks_torch(file))]
    found = next((files for files in by_kind if files), [])
    if len(found) != 1:
        what = "no checkpoint file" if not found else f"{len(found)} checkpoint files; name the one to import"
        raise ImportRefusedError("ambiguous-folder", f"{path.resolve().name} holds {what}.")
    return {found[0]: set()}


def _looks_torch(path: Path) -> bool:
    return path.suffix in _TORCH_ENDINGS and path.is_file()


def _indexed(index: Path) -> dict[Path, set[str]]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        entries = [(str(key), str(name)) for key, name in weight_map.items()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as exc:
        raise CheckpointError("bad-index", [index.name]) from exc
    files: dict[Path, set[str]] = {}
    for key, name in entries:
        if Path(name).name != name:
            raise CheckpointError("bad-index", [index.name])
        if not (index.parent / name).is_file():
            raise CheckpointError("missing-file", [name])
        files.setdefault(index.parent / name, set()).add(key)
    return files


def _read_files(files: Mapping[Path, set[str]]) -> dict[str, Any]:
    loaded: dict[str, Any] = {}
    for file, expected in files.items():
        part = _read_file(file)
        if missing := expected - set(part):
            raise CheckpointError("missing-key", missing)
        if twice := set(loaded) & set(part):
            raise CheckpointError("duplicate-key", twice)
        loaded |= part
    return loaded


def _read_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith((_ZIP, _PICKLE)):
        return _read_torch(path, zipped=head.startswith(_ZIP))
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _HEADER_LIMIT_BYTES:
        return _read_safetensors(path)
    raise CheckpointError("not-safetensors")


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the handle is no mapping
    except (SafetensorError, RuntimeError, OSError) as exc:
        raise CheckpointError("truncated-file", [path.name]) from exc


def _read_torch(path: Path, *, zipped: bool) -> dict[str, Any]:
    """Load weights only. What is more than weights is refused by torch before anything of it is called."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as exc:
        if "truncated" in str(exc):
            raise CheckpointError("truncated-file", [path.name]) from exc
        raise ImportRefusedError("unsafe-pickle", _unsafe(path.name)) from exc
    except _DAMAGE as exc:
        raise CheckpointError("truncated-file", [path.name]) from exc
    return _unwrapped(path.name, loaded)


def _unsafe(name: str) -> str:
    return (
        f"{name} holds more than weights: opening such a pickle could run code, so it was not opened; "
        "ask for a file of the state dict alone, or for safetensors."
    )


def _unwrapped(name: str, loaded: Any) -> dict[str, Any]:
    """Take the state dict out of what a training run saved."""
    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded):
        raise ImportRefusedError("no-tensors", f"{name} is not a checkpoint: it holds no tensors by name.")
    return dict(loaded)


def _sha256(files: Iterable[Path]) -> str:
    listed = sorted((file.name, file_sha256(file)) for file in files)
    if len(listed) == 1:
        return listed[0][1]
    return hashlib.sha256("".join(f"{sha256}  {name}\n" for name, sha256 in listed).encode()).hexdigest()
