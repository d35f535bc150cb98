"""A small bundle for tests, made of the exported reference graphs; its figures are invented, its graphs are real."""

import json
import shutil
from pathlib import Path
from typing import Any

from models.encoder.bundle import ENCODER_FILE, FUSION_FILE, MANIFEST_FILE
from models.shared.bundle_files import METADATA_FILE, write_sums
from models.shared.vocabulary import load_vocabulary

_GRAPHS = Path(__file__).parents[1] / "fixtures" / "medreco_parity"


def entity_row(index: int, **changes: object) -> dict[str, Any]:
    """One served entity, as metadata have it."""
    row: dict[str, Any] = {
        "index": index,
        "name": load_vocabulary().entity(index).name,
        "threshold_present": 0.7,
        "threshold_absent": 0.3,
        "calibration": {"slope": 2.0, "intercept": -1.0},
        "auroc": 0.8,
        "auroc_lo": 0.7,
        "auroc_hi": 0.9,
        "n_positive": 30,
        "n_images": 200,
    }
    return row | changes


def write_bundle(folder: Path, *rows: dict[str, Any], **section_changes: object) -> Path:
    """Write a bundle of the exported reference graphs that serves `rows` (by default entities 12 and 35)."""
    family = {
        "modality": "2D-CXR",
        "dicom_modalities": ["CR", "DX"],
        "input_depth": 1,
        "input_side_px": 80,
        "pad_value": 0.0,
        "grid_side": 4,
        "token_width": 64,
        "embedding_width": 64,
        "rerank_top_k": None,
        "graphs": {"encoder": ENCODER_FILE, "fusion": FUSION_FILE, "rerank": None},
        "entities": list(rows) or [entity_row(12), entity_row(35)],
    }
    section = {"schema": 2, "kind": "retrieval", "families": [family]}
    metadata = {"name": "fixture", "version": "1.0", "interval": section | section_changes}
    for name in (METADATA_FILE, ENCODER_FILE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / METADATA_FILE).write_text(json.dumps(metadata))
    shutil.copy(_GRAPHS / "exported_cxr_encoder.onnx", folder / ENCODER_FILE)
    shutil.copy(_GRAPHS / "exported_cxr_fusion.onnx", folder / FUSION_FILE)
    (folder / MANIFEST_FILE).write_text("image,patient,sha256,split\na.png,P1,00,train\n")
    write_sums(folder)
    return folder
