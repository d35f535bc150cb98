"""The folder of a retrieval bundle enters; its verified description and the paths of its graphs leave.

Beside the files of every bundle (models.shared.bundle_files) it holds the graphs of each family, which the metadata
name, and `train_manifest.csv` where it is known what the model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.encoder.engine import BundleInfo, FamilyInfo, FamilyNotServedError, PresenceFigures, ServedEntity
from models.shared.bundle_files import (
    METADATA_FILE,
    BundleError,
    BundleErrorCode,
    bundle_id_of,
    is_inside,
    read_metadata,
    verify_files,
)
from models.shared.vocabulary import EntityKind, UnknownEntityError, load_vocabulary

ENCODER_FILE: Final = "models/encoder.onnx"
FUSION_FILE: Final = "models/fusion.onnx"
MANIFEST_FILE: Final = "train_manifest.csv"
BUNDLE_SCHEMA: Final = 2
RETRIEVAL_KIND: Final = "retrieval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Platt scaling of one entity: probability = sigmoid(slope * logit + intercept)."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of a verified bundle with its graphs.

    They take an image to tokens, tokens and entities to readings, pairs of sides to logits; `rerank_path` is None where
    the family has no reranker.
    """

    info: FamilyInfo
    encoder_path: Path
    fusion_path: Path
    rerank_path: Path | None
    calibration: Mapping[int, Calibration]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle. `origin` says where an imported one came from; empty for one that was trained here."""

    folder: Path
    info: BundleInfo
    families: tuple[Family, ...]
    origin: Mapping[str, str]

    def family(self, modality: str) -> Family:
        """Find a family by its modality. Raises FamilyNotServedError."""
        for family in self.families:
            if family.info.modality == modality:
                return family
        raise FamilyNotServedError(modality=modality, bundle_id=self.info.bundle_id)

    @property
    def manifest_path(self) -> Path | None:
        """Images that were trained or tuned on, which evaluation leaves out; None where nobody knows."""
        path = self.folder / MANIFEST_FILE
        return path if path.is_file() else None


def open_bundle(folder: Path) -> Bundle:
    """Verify every file of the bundle in `folder` against its hash and read its description. Raises BundleError."""
    sums_sha256 = verify_files(folder)
    metadata = read_metadata(folder)
    try:
        return _parse(folder, metadata, sums_sha256)
    except (KeyError, TypeError, ValueError, AttributeError, UnknownEntityError) as exc:
        raise BundleError(BundleErrorCode.BAD_METADATA, f"{METADATA_FILE}: {exc!r}") from exc


def _parse(folder: Path, metadata: Mapping[str, Any], sums_sha256: str) -> Bundle:
    section = metadata["interval"]
    bundle_id = bundle_id_of(str(metadata["name"]), sums_sha256)
    families = tuple(_family(folder, rows, bundle_id) for rows in _family_sections(section))
    modalities = [family.info.modality for family in families]
    if not families or len(set(modalities)) != len(modalities):
        raise ValueError("a bundle serves one or more families, each once")
    info = BundleInfo(
        bundle_id=bundle_id,
        name=str(metadata["name"]),
        version=str(metadata["version"]),
        bundle_sha256=sums_sha256,
        families=tuple(family.info for family in families),
    )
    origin = {str(key): str(value) for key, value in section.get("origin", {}).items()}
    return Bundle(folder=folder, info=info, families=families, origin=origin)


def _family_sections(section: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Sections of the families, of a bundle of our schema and kind."""
    if section["schema"] != BUNDLE_SCHEMA:
        raise ValueError(f"schema {section['schema']} is not {BUNDLE_SCHEMA}")
    if section["kind"] != RETRIEVAL_KIND:
        raise ValueError(f"a bundle of kind {section['kind']!r} does not serve retrieval")
    return list(section["families"])


def _family(folder: Path, section: Mapping[str, Any], bundle_id: str) -> Family:
    modality, rows = str(section["modality"]), section["entities"]
    graphs = section["graphs"]
    top_k, rerank = section["rerank_top_k"], graphs["rerank"]
    if (top_k is None) != (rerank is None):
        raise ValueError(f"{modality}: a reranker needs both its graph and rerank_top_k")
    info = FamilyInfo(
        bundle_id=bundle_id,
        modality=modality,
        router=int(section.get("router", load_vocabulary().router_index[modality])),
        dicom_modalities=tuple(map(str, section["dicom_modalities"])),
        entities=tuple(_served_entity(row, modality) for row in rows),
        input_depth=int(section["input_depth"]),
        input_side_px=int(section["input_side_px"]),
        pad_value=float(section["pad_value"]),
        grid_side=int(section["grid_side"]),
        token_width=int(section["token_width"]),
        embedding_width=int(section["embedding_width"]),
        rerank_top_k=None if top_k is None else int(top_k),
    )
    return Family(
        info=info,
        encoder_path=_graph(folder, graphs["encoder"]),
        fusion_path=_graph(folder, graphs["fusion"]),
        rerank_path=None if rerank is None else _graph(folder, rerank),
        calibration={int(row["index"]): _calibration(row) for row in rows},
    )


def _graph(folder: Path, name: str) -> Path:
    if not is_inside(name) or not (folder / name).is_file():
        raise BundleError(BundleErrorCode.MISSING_FILE, name)
    return folder / name


def _calibration(row: Mapping[str, Any]) -> Calibration:
    fitted = row["calibration"]
    if fitted is None:
        return Calibration()
    return Calibration(slope=float(fitted["slope"]), intercept=float(fitted["intercept"]))


def _served_entity(row: Mapping[str, Any], modality: str) -> ServedEntity:
    entity = load_vocabulary().entity(int(row["index"]))
    if (entity.name, entity.modality) != (row["name"], modality):
        raise ValueError(f"entity {entity.index} of the vocabulary is not {row['name']!r}")
    return ServedEntity(
        index=entity.index,
        name=entity.name,
        kind=EntityKind(entity.kind),
        anatomy=entity.anatomy,
        measured=_presence_figures(row),
    )


def _presence_figures(row: Mapping[str, Any]) -> PresenceFigures | None:
    """Figures of an entity; None where the row has no cuts, for then nobody measured it."""
    if row["threshold_present"] is None and row["threshold_absent"] is None:
        return None
    absent, present = float(row["threshold_absent"]), float(row["threshold_present"])
    if not 0 <= absent <= present <= 1:
        raise ValueError(f"entity {row['index']}: thresholds out of order")
    if row["calibration"] is None:
        raise ValueError(f"entity {row['index']}: cuts without a calibration")
    return PresenceFigures(
        threshold_present=present,
        threshold_absent=absent,
        auroc=float(row["auroc"]),
        auroc_lo=float(row["auroc_lo"]),
        auroc_hi=float(row["auroc_hi"]),
        n_positive=int(row["n_positive"]),
        n_images=int(row["n_images"]),
    )
