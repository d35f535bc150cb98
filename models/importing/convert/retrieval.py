"""A retrieval checkpoint and the choices of its import enter; a self-tested bundle folder and what was found leave."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from models.encoder.bundle import Bundle, open_bundle
from models.encoder.engine import EngineError, FamilyInfo
from models.encoder.model import FamilyEncoder
from models.encoder.nets.export import export_reranker, export_retrieval
from models.encoder.nets.medreco import RetrievalModel, load_retrieval
from models.importing import selftest_data
from models.importing.convert.experts import expert_facts
from models.importing.convert.reading import Source
from models.importing.facts import FamilyFacts, KeyCounts, TestFacts, WeightFacts, doubts
from models.importing.families import FamilyRecipe
from models.importing.papers import (
    CARD_FILE,
    LICENSE_FILE,
    REPORT_FILE,
    Paper,
    license_text,
    metadata,
    model_card,
    report,
)
from models.importing.refusals import ImportRefusedError, SelfTestFailedError, refused
from models.importing.request import ImportRequest
from models.shared.bundle_files import METADATA_FILE, write_sums
from models.shared.checkpoints import CheckpointError
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.shared.vocabulary import load_vocabulary

logger = logging.getLogger(__name__)

_PACKAGES: Final = ("monai", "torch", "numpy", "onnxruntime")
_UNKNOWN: Final = "unknown-key"
_OWN_PREFIX: Final = "visual_transformer."


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import made: the papers' facts and the self-test's figures."""

    paper: Paper
    tests: tuple[TestFacts, ...]


def import_retrieval(source: Source, request: ImportRequest, out: Path) -> Imported:
    """Write the bundle to the empty folder `out`. Raises ImportRefusedError, SelfTestFailedError."""
    model, unknown = load_checked(source, request)
    logger.info("import.weights", extra={"used": len(model.keys.used), "unknown": len(unknown)})
    facts = _weight_facts(source.state, model, unknown, request)
    families = tuple(_export_family(model, recipe, request, out) for recipe in request.families)
    paper = Paper(
        request=request,
        source=source.facts,
        weights=facts,
        families=families,
        versions={package: version(package).partition("+")[0] for package in _PACKAGES},
        doubts=doubts(facts, families),
    )
    _write_json(out / METADATA_FILE, metadata(paper))
    write_sums(out)
    bundle = open_bundle(out)
    tests = tuple(_test_family(model, bundle, family, out) for family in families)
    _write_json(out / REPORT_FILE, report(paper, tests))
    (out / CARD_FILE).write_text(model_card(paper, tests), encoding="utf-8")
    (out / LICENSE_FILE).write_text(license_text(paper.source, paper.request), encoding="utf-8")
    write_sums(out)
    return Imported(paper=paper, tests=tests)


def load_checked(source: Source, request: ImportRequest) -> tuple[RetrievalModel, tuple[str, ...]]:
    """Load the nets and the names of entries that nothing here knows, which are left out.

    Raises ImportRefusedError where anything else is amiss, or where the request does not fit the checkpoint.
    """
    if not any(key.startswith(_OWN_PREFIX) for key in source.state):
        first = min(source.state)
        sentence = f"{source.name} is no MedReCo checkpoint: no entry of it belongs to one (its first is {first})."
        raise ImportRefusedError("other-model", sentence)
    try:
        _check_types(source.state)
        model, unknown = _load(source, request)
        _check_types({key: source.state[key] for key in model.keys.used}, floating=True)
    except CheckpointError as exc:
        raise refused(source.name, exc) from exc
    _check_fit(source.name, model, request)
    return model, unknown


def _load(source: Source, request: ImportRequest) -> tuple[RetrievalModel, tuple[str, ...]]:
    try:
        return load_retrieval(source.state, side_px=request.side_px), source.not_tensors
    except CheckpointError as exc:
        if exc.code != _UNKNOWN:
            raise
        known = {key: value for key, value in source.state.items() if key not in exc.keys}
        unknown = tuple(sorted({*exc.keys, *source.not_tensors}))
    return load_retrieval(known, side_px=request.side_px), unknown


def _check_types(state: Mapping[str, Tensor], *, floating: bool = False) -> None:
    """Raise CheckpointError for tensors that are not plain or, where it is asked for, not floating-point numbers."""
    wrong = [
        key
        for key, value in state.items()
        if value.layout != torch.strided or value.is_quantized or (floating and not value.is_floating_point())
    ]
    if wrong:
        raise CheckpointError("wrong-type", wrong)


def _check_fit(name: str, model: RetrievalModel, request: ImportRequest) -> None:
    """Refuse choices that the checkpoint's sizes do not allow."""
    sizes = model.sizes
    for recipe in request.families:
        if recipe.router >= min(sizes.experts, sizes.modality_rows):
            raise ImportRefusedError(
                "missing-expert",
                f"{name} has experts 0 to {sizes.experts - 1}, but {recipe.modality} needs expert {recipe.router}: "
                "name the families to import with --modality.",
            )
        rows = [entity.index for entity in load_vocabulary().of_modality(recipe.modality)]
        if max(rows) >= sizes.condition_rows:
            raise ImportRefusedError(
                "missing-condition",
                f"{name} has {sizes.condition_rows} conditions, but {recipe.modality} needs row {max(rows)}.",
            )
        depth = request.depth(recipe)
        if depth != 1 and depth % sizes.temporal_patch:
            raise ImportRefusedError(
                "odd-depth",
                f"{name} takes multiples of {sizes.temporal_patch} slices, not {depth}: "
                f"give another depth with --depth {recipe.modality}=SLICES.",
            )
    if model.reranker is not None and request.top_k > model.token_count:
        raise ImportRefusedError(
            "odd-top-k",
            f"{name} makes {model.token_count} tokens of an image, so a side of the reranker cannot take "
            f"{request.top_k}: give their number with --top-k.",
        )


def _weight_facts(
    state: Mapping[str, Tensor], model: RetrievalModel, unknown: tuple[str, ...], request: ImportRequest
) -> WeightFacts:
    used = {key: state[key] for key in model.keys.used}
    betas = [value for key, value in used.items() if key.endswith(".beta")]
    conditions = model.reader.condition_embeddings.weight
    entities = [e.index for recipe in request.families for e in load_vocabulary().of_modality(recipe.modality)]
    return WeightFacts(
        keys=KeyCounts(used=len(used), known_unused=len(model.keys.known_unused), unknown=unknown),
        experts=expert_facts(used),
        betas=len(betas),
        moved_betas=sum(1 for value in betas if bool(value.any())),
        blank_entities=tuple(index for index in entities if not bool(conditions[index].any())),
    )


def _export_family(model: RetrievalModel, recipe: FamilyRecipe, request: ImportRequest, out: Path) -> FamilyFacts:
    folder, depth = f"models/{recipe.folder}", request.depth(recipe)
    graphs = {part: f"{folder}/{part}.onnx" for part in ("encoder", "fusion")}
    (out / folder).mkdir(parents=True)
    logger.info("import.exporting", extra={"family": recipe.modality, "slices": depth})
    export_retrieval(model, out / graphs["encoder"], out / graphs["fusion"], router=recipe.router, depth=depth)
    rerank = None
    if model.reranker is not None:
        rerank = f"{folder}/rerank.onnx"
        export_reranker(model.reranker, out / rerank, router=recipe.router, top_k=request.top_k)
    gc.collect()
    return FamilyFacts(
        recipe=recipe,
        input_depth=depth,
        input_side_px=model.side_px,
        grid_side=model.side_px // model.sizes.patch_px,
        token_width=model.sizes.width,
        embedding_width=model.sizes.embedding_width,
        rerank_top_k=None if rerank is None else request.top_k,
        graphs={**graphs, "rerank": rerank},
    )


def _test_family(model: RetrievalModel, bundle: Bundle, facts: FamilyFacts, out: Path) -> TestFacts:
    """Let torch compute what is expected, keep it in the bundle, and compare the graphs with it."""
    recipe = facts.recipe
    family = bundle.family(recipe.modality)
    logger.info("import.testing", extra={"family": recipe.modality})
    expected = _expected(model, family.info)
    selftest_data.write_expected(out / selftest_data.file_name(recipe.folder), expected)
    gc.collect()
    try:
        compared = selftest_data.deviations(FamilyEncoder(family, OnnxRuntime()), expected)
    except EngineError as exc:
        raise SelfTestFailedError(f"The graphs of {recipe.modality} do not run: {exc}.") from exc
    gc.collect()
    if failing := selftest_data.failing(compared):
        worst = failing[0]
        raise SelfTestFailedError(
            f"The graphs of {recipe.modality} do not compute what the checkpoint does: {worst.output} is off by "
            f"{worst.relative_error:.1e} of its largest value, cosine {worst.cosine:.6f}."
        )
    return TestFacts(modality=recipe.modality, deviations=compared)


def _expected(model: RetrievalModel, info: FamilyInfo) -> selftest_data.Expected:
    """Compute with the nets of the checkpoint itself, not with those that were exported."""
    with torch.inference_mode():
        return _computed(model, info)


def _computed(model: RetrievalModel, info: FamilyInfo) -> selftest_data.Expected:
    seed = selftest_data.SEED
    made = torch.from_numpy(selftest_data.image(info, seed))
    tokens = model.encoder(made.reshape(1, 1, info.input_depth, *made.shape[-2:]), info.router)
    del made
    rows = [entity.index for entity in load_vocabulary().of_modality(info.modality)]
    readings = model.reader(tokens, torch.tensor(rows), torch.zeros(tokens.shape[:2]), info.router)
    kept = selftest_data.kept_rows(tokens.shape[1])
    rerank = None
    if model.reranker is not None and info.rerank_top_k is not None:
        sides = torch.from_numpy(selftest_data.sides(info, seed))
        query = sides[:1].expand(len(sides) - 1, -1, -1)
        rerank = model.reranker(query, sides[1:], info.router).numpy()
    return selftest_data.Expected(
        seed=seed,
        token_rows=kept,
        tokens_sample=tokens[0, torch.from_numpy(kept)].numpy(),
        entity_rows=np.array(rows, dtype=np.int64),
        embeddings=readings.embeddings[0].numpy(),
        latents=readings.latents[0].numpy(),
        logits=readings.logits[0].numpy(),
        rerank_logits=rerank,
    )


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
