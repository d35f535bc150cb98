"""What was chosen and found out enters; an imported bundle's papers leave: metadata, report, card, licence note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from models.encoder.bundle import BUNDLE_SCHEMA, RETRIEVAL_KIND
from models.importing.facts import FamilyFacts, SourceFacts, TestFacts, WeightFacts
from models.importing.request import ImportRequest
from models.shared.vocabulary import load_vocabulary

REPORT_FILE: Final = "configs/import.json"
CARD_FILE: Final = "MODEL_CARD.md"
LICENSE_FILE: Final = "LICENSE"
_UNMEASURED: Final = {
    "calibration": None,
    "threshold_present": None,
    "threshold_absent": None,
    "auroc": None,
    "auroc_lo": None,
    "auroc_hi": None,
    "n_positive": None,
    "n_images": None,
}
_INTENDED_USE: Final = "Retrieval of similar cases, for research. Nothing of it was measured or validated here."


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What they tell. `versions`: packages that made the bundle; `doubts`: what speaks against the weights."""

    request: ImportRequest
    source: SourceFacts
    weights: WeightFacts
    families: tuple[FamilyFacts, ...]
    versions: Mapping[str, str]
    doubts: tuple[str, ...]


def metadata(paper: Paper) -> dict[str, Any]:
    """`configs/metadata.json`, in the fields of a MONAI bundle, with the section of this product."""
    request = paper.request
    return {
        "version": request.version,
        "changelog": {request.version: f"imported from {paper.source.name}"},
        "monai_version": paper.versions["monai"],
        "pytorch_version": paper.versions["torch"],
        "numpy_version": paper.versions["numpy"],
        "required_packages_version": {"onnxruntime": paper.versions["onnxruntime"]},
        "name": request.name,
        "task": "Retrieval embeddings conditioned on an entity",
        "description": "A MedReCo retrieval checkpoint, converted to ONNX with one expert per modality family.",
        "authors": "not stated",
        "copyright": request.license,
        "data_source": "not stated",
        "data_type": ", ".join(family.recipe.modality for family in paper.families),
        "intended_use": _INTENDED_USE,
        "eval_metrics": {},
        "references": ["arXiv:2606.06407"],
        "network_data_format": {
            "inputs": {family.recipe.folder: _input_format(family) for family in paper.families},
            "outputs": {family.recipe.folder: _output_format(family) for family in paper.families},
        },
        "interval": {
            "schema": BUNDLE_SCHEMA,
            "kind": RETRIEVAL_KIND,
            "families": [_family_section(family) for family in paper.families],
            "origin": origin_of(paper.source, request),
        },
    }


def report(paper: Paper, tests: Sequence[TestFacts]) -> dict[str, Any]:
    """`configs/import.json`: what was found in the checkpoint and how near the graphs come to it."""
    return {
        "keys": asdict(paper.weights.keys),
        "experts": [asdict(expert) | {"verdict": expert.verdict} for expert in paper.weights.experts],
        "betas": {"stored": paper.weights.betas, "not_zero": paper.weights.moved_betas},
        "blank_entities": list(paper.weights.blank_entities),
        "doubts": list(paper.doubts),
        "selftest": {test.modality: [asdict(deviation) for deviation in test.deviations] for test in tests},
    }


def origin_of(source: SourceFacts, request: ImportRequest) -> dict[str, str]:
    """`interval.origin` of the metadata: where a bundle came from."""
    return {
        "file": source.name,
        "sha256": source.sha256,
        "from": request.origin,
        "license": request.license,
        "imported_on": request.imported_on.isoformat(),
    }


def license_text(source: SourceFacts, request: ImportRequest) -> str:
    """Say what was stated about the weights' licence; nobody here can check it."""
    return f"""\
Weights of the bundle {request.name}, converted from {source.name}
(SHA-256 {source.sha256}).

Licence, as stated by whoever imported them: {request.license}
Origin, as stated by whoever imported them: {request.origin}

Interval did not check either statement. Its own licence, Apache-2.0, does not cover these weights.
"""


def model_card(paper: Paper, tests: Sequence[TestFacts]) -> str:
    """Markdown; a stub that says what is known, and that the rest is not."""
    request, weights = paper.request, paper.weights
    return f"""# {request.name} {request.version}

A MedReCo retrieval checkpoint, imported into Interval on {request.imported_on.isoformat()}. **Nothing of it was
measured here: no figure of any entity is known, and it was never clinically validated.** The node therefore states no
entity as present or absent by it; it serves retrieval and similarity.

| | |
|---|---|
| source | {cell(paper.source.name)} |
| SHA-256 of the source | `{paper.source.sha256}` |
| origin, as stated | {cell(request.origin)} |
| licence, as stated | {cell(request.license)} |
| entries used | {weights.keys.used} |
| entries known to be unused | {weights.keys.known_unused} |
| entries unknown, left out | {len(weights.keys.unknown)} |
| `beta` buffers that are not zero | {weights.moved_betas} of {weights.betas} |

## What it reads

| family | DICOM modalities | input | expert | entities | reranker |
|---|---|---|---|---|---|
{_family_rows(paper)}

## Were its experts trained?

Judged by the weights alone: an expert that no sample was routed to keeps the distribution it was drawn from, and a copy
of another expert is the same in every value.

| expert | layers | as drawn | weights |
|---|---|---|---|
{_expert_rows(weights)}

{_doubt_lines(paper)}

## Figures

None. Measure it on your own labelled studies before you rely on it.

## Fidelity of the conversion

The graphs in ONNX Runtime against the checkpoint in torch, float32, on an input made from a seed. Largest difference in
units of the largest value, and worst cosine. This says that the conversion is right, nothing about the model's worth.

| family | output | largest difference | worst cosine |
|---|---|---|---|
{_test_rows(tests)}

## Limits

- The data that it was trained on, and so the patients that an evaluation must leave out, are not stated.
- Chest films and ultrasound images are read without their aspect ratio, as the model was trained.
- An abnormality head is part of the graphs; its output is not calibrated and no threshold exists for it.
"""


def _input_format(family: FamilyFacts) -> dict[str, Any]:
    plane = [family.input_side_px, family.input_side_px]
    return {
        "type": "image",
        "format": family.recipe.format,
        "modality": "/".join(family.recipe.dicom_modalities),
        "num_channels": 1,
        "spatial_shape": plane if family.input_depth == 1 else [family.input_depth, *plane],
        "dtype": "float32",
        "value_range": [min(0, int(family.recipe.pad_value)), 1],
        "is_patch_data": False,
        "channel_def": {"0": "grey"},
    }


def _output_format(family: FamilyFacts) -> dict[str, Any]:
    count = family.grid_side**2
    outputs = {
        "tokens": {"type": "feature", "shape": ["b", count, family.token_width]},
        "embeddings": {"type": "feature", "shape": ["b", "e", family.embedding_width]},
        "attention": {"type": "probabilities", "shape": ["b", "e", count]},
        "logits": {"type": "logit", "shape": ["b", "e"]},
    }
    if family.rerank_top_k is not None:
        outputs["rerank"] = {"type": "logit", "shape": ["p"]}
    return outputs


def _family_section(family: FamilyFacts) -> dict[str, Any]:
    recipe = family.recipe
    return {
        "modality": recipe.modality,
        "router": recipe.router,
        "dicom_modalities": list(recipe.dicom_modalities),
        "input_depth": family.input_depth,
        "input_side_px": family.input_side_px,
        "pad_value": recipe.pad_value,
        "grid_side": family.grid_side,
        "token_width": family.token_width,
        "embedding_width": family.embedding_width,
        "rerank_top_k": family.rerank_top_k,
        "graphs": dict(family.graphs),
        "entities": [
            {"index": entity.index, "name": entity.name} | _UNMEASURED
            for entity in load_vocabulary().of_modality(recipe.modality)
        ],
    }


def _family_rows(paper: Paper) -> str:
    rows = []
    for family in paper.families:
        recipe, side = family.recipe, family.input_side_px
        shape = f"{side} x {side}" if family.input_depth == 1 else f"{family.input_depth} x {side} x {side}"
        entities = len(load_vocabulary().of_modality(recipe.modality))
        rerank = "none" if family.rerank_top_k is None else f"{family.rerank_top_k} tokens a side"
        rows.append(_row(recipe.modality, ", ".join(recipe.dicom_modalities), shape, recipe.router, entities, rerank))
    return "\n".join(rows)


def _expert_rows(weights: WeightFacts) -> str:
    return "\n".join(_row(expert.expert, expert.layers, expert.initial, expert.verdict) for expert in weights.experts)


def _doubt_lines(paper: Paper) -> str:
    return "\n".join(f"- {cell(doubt)}" for doubt in paper.doubts) or "Nothing in the weights speaks against them."


def _test_rows(tests: Sequence[TestFacts]) -> str:
    return "\n".join(
        _row(test.modality, deviation.output, f"{deviation.relative_error:.1e}", f"{deviation.cosine:.7f}")
        for test in tests
        for deviation in test.deviations
    )


def _row(*cells: object) -> str:
    return f"| {' | '.join(cell(str(value)) for value in cells)} |"


def cell(text: str) -> str:
    """Put text of somebody else in one line of Markdown, without marks that mean something there."""
    plain = " ".join(text.split()).replace("|", "\\|")
    return plain.replace("<", "&lt;").replace("[", "\\[")
