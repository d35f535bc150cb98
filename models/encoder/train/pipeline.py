"""A data folder enters; a trained, calibrated, judged model leaves as a bundle folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.encoder.bundle import Calibration
from models.encoder.calibration import apply_platt, choose_cuts, fit_platt
from models.encoder.figures import (
    MIN_POSITIVES,
    Cuts,
    Figure,
    HeldOut,
    macro_figure,
    presence_figures,
    retrieval_figure,
)
from models.encoder.films import (
    DataError,
    DataErrorCode,
    Film,
    load_label_map,
    read_duplicate_patients,
    read_films,
    truth_table,
)
from models.encoder.nets.lite0 import EfficientNetLite0
from models.encoder.train.features import load_trunk, trunk_features
from models.encoder.train.fit import Examples, Heads, fit_heads, read_all
from models.encoder.train.publish import Rejected, ServedResult, export_graphs, publish_bundle
from models.encoder.train.recipe import Recipe
from models.shared.metrics import auroc, bootstrap_by_patient
from models.shared.splits import split_patients
from models.shared.vocabulary import Entity, load_vocabulary

logger = logging.getLogger(__name__)

_NO_FINDING = "No Finding"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """All films with their features and truth, and who is held out. `entities` are the columns of `truth`."""

    films: tuple[Film, ...]
    entities: tuple[Entity, ...]
    examples: Examples
    is_test: NDArray[np.bool_]
    fold: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What came of a run."""

    served: tuple[ServedResult, ...]
    rejected: tuple[Rejected, ...]
    macro: tuple[Figure, ...]


def train_bundle(data: Path, out: Path, *, recipe: Recipe, seed: int) -> TrainingResult:
    """Train on the open films of `data` and write the bundle to `out`. Raises DataError, PixelError, OSError."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True)
    trunk = load_trunk(data)
    training_set = prepare(data, trunk, recipe=recipe, seed=seed)
    logits = _cross_fit(training_set, recipe, seed)
    kept = torch.from_numpy(np.flatnonzero(~training_set.is_test))
    heads = _fit(recipe, training_set.examples.pick(kept), seed, "final")
    result = _judge(training_set, heads, logits)
    export_graphs(out, recipe=recipe, trunk=trunk, heads=heads)
    trained_on = [film for film, test in zip(training_set.films, training_set.is_test, strict=True) if not test]
    publish_bundle(
        out,
        recipe=recipe,
        served=result.served,
        rejected=result.rejected,
        macro=result.macro,
        trained_on={"train": trained_on},
    )
    return result


def prepare(data: Path, trunk: EfficientNetLite0, *, recipe: Recipe, seed: int) -> TrainingSet:
    """Read films, compute their features and deal patients to test and folds. Raises DataError."""
    films = read_films(data)
    strata = _strata(films)
    duplicates = read_duplicate_patients(data)
    shares = {"test": recipe.test_share, "train": 1 - recipe.test_share}
    splits = split_patients(strata, shares=shares, seed=seed, inseparable=duplicates)
    folds = split_patients(
        {patient: stratum for patient, stratum in strata.items() if splits[patient] == "train"},
        shares={str(fold): 1 / recipe.folds for fold in range(recipe.folds)},
        seed=seed,
        inseparable=duplicates,
    )
    is_test = np.array([splits[film.patient] == "test" for film in films])
    rules = load_label_map()
    truth = truth_table(films, rules)
    enough = np.flatnonzero(truth[~is_test].sum(axis=0) >= recipe.least_training_positives)
    if not enough.size:
        raise DataError(DataErrorCode.TOO_FEW_LABELS, "every entity of the label map")
    entities = tuple(load_vocabulary().entity(rules[column].index) for column in enough)
    features = trunk_features(trunk, data, films, recipe=recipe, seed=seed, varied=(~is_test).tolist())
    return TrainingSet(
        films=films,
        entities=entities,
        examples=Examples(
            features,
            torch.from_numpy(truth[:, enough]),
            torch.tensor([entity.index for entity in entities]),
        ),
        is_test=is_test,
        fold=np.array([int(folds.get(film.patient, -1)) for film in films]),
    )


def _strata(films: Sequence[Film]) -> dict[str, str]:
    """Per patient the finding of theirs that is rarest in the set, so that rare findings are shared out."""
    counts = Counter(finding for film in films for finding in film.findings)
    found: dict[str, set[str]] = {}
    for film in films:
        found.setdefault(film.patient, set()).update(film.findings)
    return {patient: min(findings, key=lambda name: (counts[name], name)) for patient, findings in found.items()}


def _cross_fit(training_set: TrainingSet, recipe: Recipe, seed: int) -> NDArray[np.float64]:
    """Logits (films, entities) of each training film by a model that saw none of its patient; NaN for test films."""
    logits = np.full(training_set.examples.truth.shape, np.nan)
    for fold in range(recipe.folds):
        seen = (training_set.fold >= 0) & (training_set.fold != fold)
        unseen = np.flatnonzero(training_set.fold == fold)
        seen_examples = training_set.examples.pick(torch.from_numpy(np.flatnonzero(seen)))
        heads = _fit(recipe, seen_examples, seed, f"fold {fold + 1}/{recipe.folds}")
        logits[unseen] = read_all(heads, training_set.examples.pick(torch.from_numpy(unseen)))[0].numpy()
    return logits


def _fit(recipe: Recipe, examples: Examples, seed: int, name: str) -> Heads:
    def report(epoch: int, loss: float) -> None:
        if epoch % 5 == 0 or epoch == recipe.epochs:
            logger.info("train.epoch", extra={"run": name, "epoch": epoch, "of": recipe.epochs, "loss": round(loss, 4)})

    return fit_heads(recipe, examples, condition_rows=load_vocabulary().table_rows, seed=seed, progress=report)


def _judge(training_set: TrainingSet, heads: Heads, cross_fitted: NDArray[np.float64]) -> TrainingResult:
    test = np.flatnonzero(training_set.is_test)
    read = read_all(heads, training_set.examples.pick(torch.from_numpy(test)))
    logits, embeddings, plain = (part.numpy() for part in read)
    films = [training_set.films[row] for row in test]
    truth = training_set.examples.truth.numpy()
    served, rejected = [], _never_trained(training_set)
    for column, entity in enumerate(training_set.entities):
        calibration, cuts, lower = _tune(training_set, cross_fitted[:, column], truth[:, column])
        held_out = HeldOut(
            entity=entity.name,
            truth=truth[test, column],
            probability=apply_platt(calibration, logits[:, column]),
            embeddings=embeddings[:, column],
            plain=plain,
            patients=tuple(film.patient for film in films),
            views=tuple(film.view for film in films),
            abnormal=np.array([_NO_FINDING not in film.findings for film in films]),
        )
        figures = (*presence_figures(held_out, cuts), retrieval_figure(held_out))
        if reason := _refusal(held_out, figures[0], lower):
            rejected.append(Rejected(entity=entity, reason=reason, positives=int(truth[:, column].sum())))
        else:
            served.append(ServedResult(entity=entity, calibration=calibration, cuts=cuts, figures=figures))
    all_figures = [figure for result in served for figure in result.figures]
    macro = tuple(
        macro_figure(all_figures, task=task, metric=metric)
        for task, metric in (("presence", "auroc"), ("retrieval", "recall@1"))
    )
    return TrainingResult(served=tuple(served), rejected=tuple(rejected), macro=macro)


def _tune(
    training_set: TrainingSet, logits: NDArray[np.float64], truth: NDArray[np.bool_]
) -> tuple[Calibration, Cuts, float]:
    """Calibration, cuts and lower AUROC bound of one entity from cross-fitted logits of training patients."""
    rows = np.flatnonzero(~training_set.is_test)
    logits, truth = logits[rows], truth[rows]
    calibration = fit_platt(logits, truth)
    cuts = choose_cuts(apply_platt(calibration, logits), truth)
    patients = [training_set.films[row].patient for row in rows]
    interval = bootstrap_by_patient(lambda picked: auroc(truth[picked], logits[picked]), patients)
    return calibration, cuts, interval.lo


def _refusal(held_out: HeldOut, figure: Figure, cross_fitted_lower: float) -> str:
    if (positives := int(held_out.truth.sum())) < MIN_POSITIVES:
        return f"only {positives} positive held-out films"
    if not cross_fitted_lower > 0.5:
        return f"cross-fitted AUROC not above chance (lower bound {cross_fitted_lower:.2f})"
    if not figure.lo > 0.5:
        return f"held-out AUROC not above chance ({figure.value:.2f}, lower bound {figure.lo:.2f})"
    return ""


def _never_trained(training_set: TrainingSet) -> list[Rejected]:
    trained = {entity.index for entity in training_set.entities}
    rules = load_label_map()
    positives = truth_table(training_set.films, rules).sum(axis=0)
    return [
        Rejected(entity=load_vocabulary().entity(rule.index), reason="too few films to train on", positives=int(count))
        for rule, count in zip(rules, positives, strict=True)
        if rule.index not in trained
    ]
