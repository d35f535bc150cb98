"""A trained model and its figures enter; a bundle folder leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.encoder.bundle import (
    BUNDLE_SCHEMA,
    ENCODER_FILE,
    FUSION_FILE,
    MANIFEST_FILE,
    RETRIEVAL_KIND,
    Calibration,
)
from models.encoder.figures import Cuts, Figure
from models.encoder.films import Film
from models.encoder.nets.export import export_image_encoder, export_reader
from models.encoder.nets.lite0 import EfficientNetLite0, Lite0Encoder
from models.encoder.train.card import NOTICE, CardFacts, model_card
from models.encoder.train.fit import Heads
from models.encoder.train.recipe import Recipe
from models.shared.bundle_files import METADATA_FILE, write_sums
from models.shared.vocabulary import Entity

LICENSE_PATH = Path(__file__).with_name("LICENSE-2.0.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedResult:
    """One entity that passed admission, with all that serving needs and the figures it passed on."""

    entity: Entity
    calibration: Calibration
    cuts: Cuts
    figures: tuple[Figure, ...]

    def figure(self, metric: str) -> Figure:
        """Find the figure called `metric`. Raises StopIteration where there is none."""
        return next(figure for figure in self.figures if figure.metric == metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """One entity of the label map that is not served, and why."""

    entity: Entity
    reason: str
    positives: int


def publish_bundle(
    folder: Path,
    *,
    recipe: Recipe,
    served: Sequence[ServedResult],
    rejected: Sequence[Rejected],
    macro: Sequence[Figure],
    trained_on: Mapping[str, Sequence[Film]],
) -> None:
    """Write the papers of the bundle whose graphs lie in `folder`, then its hashes. `trained_on`: films by split."""
    (folder / METADATA_FILE).parent.mkdir(parents=True, exist_ok=True)
    metadata = _metadata(recipe, served, macro)
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _write_manifest(folder / MANIFEST_FILE, trained_on)
    facts = CardFacts(
        recipe=recipe,
        served=tuple((result.entity, result.cuts, result.figures) for result in served),
        rejected=tuple((row.entity, row.reason, row.positives) for row in rejected),
        macro=tuple(macro),
        films={split: len(films) for split, films in trained_on.items()},
        patients={split: len({film.patient for film in films}) for split, films in trained_on.items()},
    )
    (folder / "MODEL_CARD.md").write_text(model_card(facts), encoding="utf-8")
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    (folder / "LICENSE").write_text(LICENSE_PATH.read_text(encoding="utf-8"), encoding="utf-8")
    write_sums(folder)


def export_graphs(folder: Path, *, recipe: Recipe, trunk: EfficientNetLite0, heads: Heads) -> None:
    """Write the two graphs of the bundle."""
    (folder / ENCODER_FILE).parent.mkdir(parents=True, exist_ok=True)
    encoder = Lite0Encoder(trunk, heads.project)
    export_image_encoder(encoder, folder / ENCODER_FILE, side_px=recipe.input_side_px)
    export_reader(heads.reader, folder / FUSION_FILE, router=0)


def _write_manifest(path: Path, trained_on: Mapping[str, Iterable[Film]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "patient", "sha256", "split"))
        for split, films in trained_on.items():
            writer.writerows((film.image, film.patient, film.sha256, split) for film in films)


def _metadata(recipe: Recipe, served: Sequence[ServedResult], macro: Sequence[Figure]) -> dict[str, Any]:
    side, count = recipe.input_side_px, recipe.grid_side**2
    return {
        "version": recipe.version,
        "changelog": {recipe.version: "first bundle"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"onnxruntime": version("onnxruntime")},
        "name": recipe.name,
        "task": "Entity presence, evidence and retrieval embeddings on frontal chest films",
        "description": "EfficientNet-Lite0 tokens read by a MedReCo condition fusion decoder, one query per entity.",
        "authors": "Interval contributors",
        "copyright": "Apache-2.0",
        "data_source": "NIH ChestX-ray14 (Wang et al., CVPR 2017; NIH Clinical Center)",
        "data_type": "frontal chest radiographs",
        "intended_use": "Drafts for a radiologist to check. Research use; never clinically validated.",
        "eval_metrics": {f"{row.task} {row.metric}, macro": round(row.value, 4) for row in macro},
        "references": ["arXiv:2606.06407", "arXiv:1905.11946", "doi:10.1109/CVPR.2017.369"],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "luminance, bright is dense",
                    "modality": "CR/DX",
                    "num_channels": 1,
                    "spatial_shape": [side, side],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {"0": "grey"},
                }
            },
            "outputs": {
                "tokens": {"type": "feature", "shape": ["b", count, recipe.token_width]},
                "embeddings": {"type": "feature", "shape": ["b", "e", recipe.token_width]},
                "attention": {"type": "probabilities", "shape": ["b", "e", count]},
                "logits": {"type": "logit", "shape": ["b", "e"]},
            },
        },
        "interval": {
            "schema": BUNDLE_SCHEMA,
            "kind": RETRIEVAL_KIND,
            "recipe": asdict(recipe),
            "families": [_family_section(recipe, served)],
        },
    }


def _family_section(recipe: Recipe, served: Sequence[ServedResult]) -> dict[str, Any]:
    return {
        "modality": recipe.modality,
        "dicom_modalities": list(recipe.dicom_modalities),
        "input_depth": 1,
        "input_side_px": recipe.input_side_px,
        "pad_value": 0.0,
        "grid_side": recipe.grid_side,
        "token_width": recipe.token_width,
        "embedding_width": recipe.token_width,
        "rerank_top_k": None,
        "graphs": {"encoder": ENCODER_FILE, "fusion": FUSION_FILE, "rerank": None},
        "entities": [_entity_row(result) for result in served],
    }


def _entity_row(result: ServedResult) -> dict[str, Any]:
    auroc = result.figure("auroc")
    positives = result.figure("called_present_of_present").n_images
    return {
        "index": result.entity.index,
        "name": result.entity.name,
        "threshold_present": result.cuts.present,
        "threshold_absent": result.cuts.absent,
        "calibration": asdict(result.calibration),
        "auroc": round(auroc.value, 4),
        "auroc_lo": round(auroc.lo, 4),
        "auroc_hi": round(auroc.hi, 4),
        "n_positive": positives,
        "n_images": auroc.n_images,
    }
