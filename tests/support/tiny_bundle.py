"""Writes tests/fixtures/bundles/tiny: the four families of the parity checkpoint, exported, random weights throughout.

    .venv-train/bin/python -m tests.support.tiny_bundle

The graphs are real; the figures of the few entities that count as measured are invented, so that drafts of both kinds
can be seen. Films and MR are all unmeasured, as an imported bundle is.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from models.encoder.nets.export import export_reranker, export_retrieval
from models.encoder.nets.medreco import load_retrieval
from models.importing.families import FAMILIES, FamilyRecipe
from models.shared.bundle_files import METADATA_FILE, write_sums
from models.shared.vocabulary import load_vocabulary

FIXTURES = Path(__file__).parents[1] / "fixtures"
FOLDER = FIXTURES / "bundles" / "tiny"
SIDE_PX, GRID_SIDE, WIDTH, TOP_K = 80, 4, 64, 6
RERANKED = "3D-CT"
DEPTHS = {"2D-CXR": 1, "3D-CT": 20, "3D-Brain-MRI": 30, "2D-Ultrasound": 1}
# Cuts about the middle of what random weights say, so that present, absent and undetermined all occur.
MEASURED = {102: (0.5, 0.5), 103: (0.45, 0.55), 300: (0.5, 0.5), 308: (0.4, 0.6), 312: (0.5, 0.5)}


def main() -> None:
    """Write the bundle anew."""
    config = json.loads((FIXTURES / "medreco_parity" / "retrieval_config.json").read_text())
    model = load_retrieval(
        load_file(FIXTURES / "medreco_parity" / "retrieval.safetensors"),
        side_px=SIDE_PX,
        fusion_heads=config["fusion"]["heads"],
        rerank_heads=config["rerank"]["heads"],
        position_grid=tuple(config["pos_grid"]),
    )
    families = [_family(recipe) for recipe in FAMILIES.values()]
    for recipe, family in zip(FAMILIES.values(), families, strict=True):
        graphs = {part: FOLDER / name for part, name in family["graphs"].items() if name}
        graphs["encoder"].parent.mkdir(parents=True, exist_ok=True)
        export_retrieval(
            model, graphs["encoder"], graphs["fusion"], router=recipe.router, depth=DEPTHS[recipe.modality]
        )
        if model.reranker is not None and "rerank" in graphs:
            export_reranker(model.reranker, graphs["rerank"], router=recipe.router, top_k=TOP_K)
    section = {"schema": 2, "kind": "retrieval", "families": families, "origin": {"made of": "random weights"}}
    metadata = {"name": "tiny", "version": "1.0", "interval": section}
    (FOLDER / METADATA_FILE).parent.mkdir(exist_ok=True)
    (FOLDER / METADATA_FILE).write_text(json.dumps(metadata, indent=1) + "\n")
    write_sums(FOLDER)


def _family(recipe: FamilyRecipe) -> dict[str, Any]:
    graphs = {part: f"models/{recipe.folder}/{part}.onnx" for part in ("encoder", "fusion", "rerank")}
    is_reranked = recipe.modality == RERANKED
    return {
        "modality": recipe.modality,
        "router": recipe.router,
        "dicom_modalities": list(recipe.dicom_modalities),
        "input_depth": DEPTHS[recipe.modality],
        "input_side_px": SIDE_PX,
        "pad_value": recipe.pad_value,
        "grid_side": GRID_SIDE,
        "token_width": WIDTH,
        "embedding_width": WIDTH,
        "rerank_top_k": TOP_K if is_reranked else None,
        "graphs": graphs if is_reranked else graphs | {"rerank": None},
        "entities": [_entity(entity.index, entity.name) for entity in load_vocabulary().of_modality(recipe.modality)],
    }


def _entity(index: int, name: str) -> dict[str, Any]:
    figures = ("auroc", "auroc_lo", "auroc_hi", "n_positive", "n_images")
    cuts = MEASURED.get(index)
    if cuts is None:
        unknown = ("calibration", "threshold_present", "threshold_absent", *figures)
        return {"index": index, "name": name} | dict.fromkeys(unknown)
    return {
        "index": index,
        "name": name,
        "calibration": {"slope": 1.0, "intercept": 0.0},
        "threshold_absent": cuts[0],
        "threshold_present": cuts[1],
    } | dict(zip(figures, (0.8, 0.7, 0.9, 30, 200), strict=True))


if __name__ == "__main__":
    main()
