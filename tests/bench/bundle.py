"""A cache folder enters; a full-size checkpoint with random weights and the bundle exported from it leave.

Both are made once: the folder's name is a hash of the code that makes them, so that other code makes others.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.shared.bundle_files import METADATA_FILE, write_sums
from models.shared.vocabulary import load_vocabulary
from tests.bench.fullsize import write_checkpoint
from tests.bench.layout import PUBLISHED
from tests.bench.result import MissingPrerequisiteError
from tests.bench.workload import CT, CT_DEPTH, FILM, SIDE_PX, TOP_K

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
_TRAINING: Final = _REPOSITORY / ".venv-train" / "bin" / "python"
_MAKERS: Final = (
    "tests/bench/bundle.py",
    "tests/bench/export_side.py",
    "tests/bench/fullsize.py",
    "tests/bench/layout.py",
    "models/encoder/nets",
    "models/shared/checkpoints.py",
    "models/shared/positions.py",
)
_PREFIX: Final = "fullsize-"
_COMPLETE: Final = "SHA256SUMS"
DEPTHS: Final = {FILM: 1, CT: CT_DEPTH}
_UNMEASURED: Final = (
    "calibration",
    "threshold_present",
    "threshold_absent",
    "auroc",
    "auroc_lo",
    "auroc_hi",
    "n_positive",
    "n_images",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What both sides of a benchmark open."""

    checkpoint: Path
    bundle: Path


def training_python() -> str:
    """Path of the interpreter that has torch. Raises MissingPrerequisiteError."""
    if _TRAINING.is_file() and subprocess.run([_TRAINING, "-c", "import torch"], check=False).returncode == 0:
        return str(_TRAINING)
    raise MissingPrerequisiteError("Missing: torch in .venv-train; make it with: make .venv-train/.installed")


def prepare(cache: Path, families: Sequence[str] = (FILM, CT)) -> Subject:
    """Return the full-size subject, made now unless it lies in `cache`. Raises MissingPrerequisiteError."""
    interpreter = training_python()
    folder = cache / f"{_PREFIX}{_digest(families)}"
    subject = Subject(checkpoint=folder / "retrieval.safetensors", bundle=folder / "bundle")
    if (subject.bundle / _COMPLETE).is_file():
        return subject
    for older in cache.glob(f"{_PREFIX}*"):
        shutil.rmtree(older)
    folder.mkdir(parents=True)
    print(f"bench: making {folder}", file=sys.stderr, flush=True)
    write_checkpoint(subject.checkpoint, text=False)
    command = [interpreter, "-m", "tests.bench.export_side", str(subject.checkpoint), str(subject.bundle), *families]
    subprocess.run(command, check=True, cwd=_REPOSITORY, stdout=sys.stderr)
    write_metadata(subject.bundle, families)
    write_sums(subject.bundle)
    return subject


def graph_paths(family: str) -> dict[str, str]:
    """Where the graphs of a family lie in the bundle, by their names in the metadata."""
    return {name: f"models/{family.lower()}/{name}.onnx" for name in ("encoder", "fusion", "rerank")}


def write_metadata(bundle: Path, families: Sequence[str]) -> None:
    """Describe the bundle: every entity is served, none was measured."""
    section = {"schema": 2, "kind": "retrieval", "families": [_family(name) for name in families]}
    metadata = {"name": "fullsize-random", "version": "0", "interval": section}
    (bundle / METADATA_FILE).parent.mkdir(parents=True, exist_ok=True)
    (bundle / METADATA_FILE).write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")


def _family(name: str) -> dict[str, Any]:
    vocabulary, depth = load_vocabulary(), DEPTHS[name]
    unmeasured = dict.fromkeys(_UNMEASURED)
    return {
        "modality": name,
        "router": vocabulary.router_index[name],
        "dicom_modalities": ["CR", "DX"] if depth == 1 else ["CT"],
        "input_depth": depth,
        "input_side_px": SIDE_PX,
        "pad_value": 0.0 if depth == 1 else -1.0,
        "grid_side": SIDE_PX // PUBLISHED.patch_px,
        "token_width": PUBLISHED.width,
        "embedding_width": PUBLISHED.width,
        "rerank_top_k": TOP_K,
        "graphs": graph_paths(name),
        "entities": [
            {"index": entity.index, "name": entity.name, **unmeasured} for entity in vocabulary.of_modality(name)
        ],
    }


def _digest(families: Sequence[str]) -> str:
    digest = hashlib.sha256(" ".join(families).encode())
    for name in _MAKERS:
        path = _REPOSITORY / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(_REPOSITORY).as_posix().encode() + b"\n" + file.read_bytes())
    return digest.hexdigest()[:12]
