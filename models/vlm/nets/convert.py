"""A published folder enters; a bundle of kind "vlm" leaves, in the memory of the vision tower and one matrix.

The text stack is never loaded: its matrices stream from the shards to the decoder's data file one by one. Only the
tower, some 0.6 GB as float32, exists in torch while its graphs are traced.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from models.shared.bundle_files import METADATA_FILE, write_sums
from models.shared.checkpoints import CheckpointError
from models.vlm.bundle import DECODER_FILE, EMBEDDING_FILE, TOKENIZER_FOLDER, VLM_KIND, VLM_SCHEMA
from models.vlm.checkpoint import VlmCheckpoint, check_names, open_checkpoint
from models.vlm.nets.graph import write_decoder
from models.vlm.nets.model import load_tower, needed_shapes
from models.vlm.nets.tower import export_tower
from models.vlm.nets.weights import WeightType
from models.vlm.sizes import TEXT, VlmConfig, VlmSizes, infer_vlm_sizes, parse_config

CONFIG_FILE: Final = "config.json"
GENERATION_FILE: Final = "generation_config.json"
_TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "added_tokens.json",
)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """One vision graph of the bundle: which images it takes and the modalities that use it."""

    file: str
    router: int
    depth: int
    modalities: tuple[str, ...]


# The reference infers the expert from the depth, so ultrasound goes the way of films.
TOWERS: Final = (
    Tower(file="models/vision-2d.onnx", router=1, depth=1, modalities=("2D-CXR", "2D-Ultrasound")),
    Tower(file="models/vision-ct.onnx", router=0, depth=240, modalities=("3D-CT",)),
    Tower(file="models/vision-mri.onnx", router=2, depth=30, modalities=("3D-Brain-MRI",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmImport:
    """What the bundle is called and where it came from; how its matrices are kept."""

    name: str = "medreco-vlm"
    version: str = "1.0.0"
    origin: Mapping[str, str] = field(default_factory=dict)
    weights: WeightType = WeightType.STORED
    towers: tuple[Tower, ...] = TOWERS


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmReport:
    """What was converted: the bundle's hash, its sizes, and the names in the checkpoint that nothing uses."""

    bundle_sha256: str
    sizes: VlmSizes
    unused: tuple[str, ...]


def convert_vlm(
    source: Path, target: Path, progress: Progress = lambda step, done, total: None, *, wanted: VlmImport | None = None
) -> VlmReport:
    """Write the bundle of the checkpoint in folder `source` to folder `target`, which must be empty or new.

    `progress` gets the step ("vision", "decoder", "files"), and what is done of how much. Raises CheckpointError, its
    codes those of models.vlm.checkpoint and models.vlm.sizes and missing-file; nothing is written before all is read
    and checked. Raises FileExistsError where `target` holds something.
    """
    if target.exists() and any(target.iterdir()):
        raise FileExistsError("the bundle's folder is not empty")
    wanted = wanted or VlmImport()
    checkpoint = open_checkpoint(source)
    config = read_config(source)
    sizes = infer_vlm_sizes(checkpoint.shapes, config)
    unused = check_names(checkpoint.shapes, needed_shapes(sizes))
    check_ids(sizes, config)
    tokenizer_files = _tokenizer_files(source)

    for folder in ("models", "configs", TOKENIZER_FOLDER):
        (target / folder).mkdir(parents=True, exist_ok=True)
    _write_towers(checkpoint, sizes, target, wanted.towers, progress)
    write_decoder(
        checkpoint,
        sizes.text,
        target / DECODER_FILE,
        weights=wanted.weights,
        progress=lambda done, total: progress("decoder", done, total),
    )
    progress("files", 0, 1)
    with (target / EMBEDDING_FILE).open("wb") as file:
        checkpoint.tensors[f"{TEXT}embed_tokens.weight"].copy_to(file)
    for path in tokenizer_files:
        shutil.copyfile(path, target / TOKENIZER_FOLDER / path.name)
    metadata = _metadata(wanted, checkpoint, sizes, config)
    (target / METADATA_FILE).write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    bundle_sha256 = write_sums(target)
    progress("files", 1, 1)
    return VlmReport(bundle_sha256=bundle_sha256, sizes=sizes, unused=unused)


def read_config(source: Path) -> VlmConfig:
    """Read `config.json`, and `generation_config.json` where there is one. Raises CheckpointError."""
    if not (source / CONFIG_FILE).is_file():
        raise CheckpointError("missing-file", [CONFIG_FILE])
    generation = _json(source / GENERATION_FILE) if (source / GENERATION_FILE).is_file() else {}
    return parse_config(_json(source / CONFIG_FILE), generation)


def check_ids(sizes: VlmSizes, config: VlmConfig) -> None:
    """Check that every id is a row of the embedding table. Raises CheckpointError: bad-config."""
    ids = config.ids
    for token in (ids.image, ids.vision_start, ids.vision_end, ids.pad, *ids.stop):
        if not 0 <= token < sizes.text.vocabulary:
            raise CheckpointError("bad-config", [f"token id {token}"])


def _write_towers(
    checkpoint: VlmCheckpoint, sizes: VlmSizes, target: Path, towers: Sequence[Tower], progress: Progress
) -> None:
    tower = load_tower(checkpoint, sizes)
    for number, row in enumerate(towers):
        progress("vision", number, len(towers))
        export_tower(tower, target / row.file, side_px=sizes.side_px, depth=row.depth, router=row.router)
    progress("vision", len(towers), len(towers))


def _tokenizer_files(source: Path) -> list[Path]:
    found = [source / name for name in _TOKENIZER_FILES if (source / name).is_file()]
    names = {path.name for path in found}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise CheckpointError("missing-file", ["tokenizer.json"])
    return found


def _metadata(wanted: VlmImport, checkpoint: VlmCheckpoint, sizes: VlmSizes, config: VlmConfig) -> dict[str, Any]:
    embedding = checkpoint.tensors[f"{TEXT}embed_tokens.weight"]
    stored = checkpoint.tensors[f"{TEXT}layers.0.mlp.gate_proj.weight"].dtype
    return {
        "version": wanted.version,
        "changelog": {wanted.version: "imported"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"onnxruntime": version("onnxruntime")},
        "name": wanted.name,
        "task": "Questions about medical images, answered in text",
        "description": "MedReCo-VLM: a CTViT tower in front of the text stack of Qwen2.5.",
        "interval": {
            "schema": VLM_SCHEMA,
            "kind": VLM_KIND,
            "families": [
                {"modality": modality, "router": row.router, "depth": row.depth, "graph": row.file}
                for row in wanted.towers
                for modality in row.modalities
            ],
            "input_side_px": sizes.side_px,
            "grid_side": sizes.grid_side,
            "text": asdict(sizes.text),
            "max_tokens": config.max_tokens,
            "ids": asdict(config.ids),
            "graphs": {"decoder": DECODER_FILE},
            "embedding": {"file": EMBEDDING_FILE, "dtype": embedding.dtype, "shape": list(embedding.shape)},
            "matrix_dtype": stored if wanted.weights is WeightType.STORED else wanted.weights.value,
            "origin": dict(wanted.origin),
        },
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise CheckpointError("bad-config", [path.name]) from exc
    if not isinstance(parsed, dict):
        raise CheckpointError("bad-config", [path.name])
    return parsed
