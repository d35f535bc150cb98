"""Readings of held-out films and their truth enter; figures with intervals, chance and a baseline leave. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from models.shared.metrics import Interval, auroc, bootstrap_by_patient

FRONTAL_VIEWS = ("AP", "PA")
MIN_POSITIVES = 20  # below this no macro figure counts an entity, and no bundle serves it

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of an evaluation. `chance` is what guessing gives, `baseline_value` what the named baseline gives."""

    task: str
    entity: str
    metric: str
    value: float
    lo: float
    hi: float
    chance: float
    baseline: str
    baseline_value: float
    n_patients: int
    n_images: int

    def as_row(self) -> dict[str, object]:
        """Values by name, NaN as None."""
        return {
            key: None if isinstance(value, float) and np.isnan(value) else value for key, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Readings of one entity on m held-out films.

    `probability` (m,) calibrated; `embeddings` (m, D) unit norm; `plain` (m, d) unit norm, an embedding that knows no
    entity: the retrieval baseline. `abnormal` (m,): the film carries any finding.
    """

    entity: str
    truth: BoolArray
    probability: FloatArray
    embeddings: FloatArray
    plain: FloatArray
    patients: tuple[str, ...]
    views: tuple[str, ...]
    abnormal: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """Calibrated probabilities: present from `present`, absent below `absent`, undetermined between."""

    present: float
    absent: float


def presence_figures(held_out: HeldOut, cuts: Cuts) -> list[Figure]:
    """AUROC over all films, within each view, and among abnormal films; then what the cuts do.

    The baseline is the view alone, AP or PA, whichever goes with the entity: views are not filmed at random.
    """
    views = np.array(held_out.views)
    figures = [_auroc_figure(held_out, "auroc", np.ones(len(views), dtype=bool))]
    figures += [_auroc_figure(held_out, f"auroc_{view.lower()}", views == view) for view in FRONTAL_VIEWS]
    figures.append(_auroc_figure(held_out, "auroc_among_abnormal", held_out.abnormal))
    present, absent = held_out.probability >= cuts.present, held_out.probability < cuts.absent
    truth = held_out.truth
    figures += [
        _rate_figure(held_out, "called_present_of_present", present, truth),
        _rate_figure(held_out, "called_present_of_absent", present, ~truth),
        _rate_figure(held_out, "called_absent_of_present", absent, truth),
        _rate_figure(held_out, "called_absent_of_absent", absent, ~truth),
        _rate_figure(held_out, "undetermined", ~present & ~absent, np.ones(len(truth), dtype=bool)),
        _brier_figure(held_out),
    ]
    return figures


def retrieval_figure(held_out: HeldOut) -> Figure:
    """Recall@1: of films with the entity, the share whose nearest film of another patient has it too."""
    truth, patients = held_out.truth, np.array(held_out.patients)
    other = patients[:, None] != patients[None, :]
    queries = np.flatnonzero(truth)

    def hits(embeddings: FloatArray) -> FloatArray:
        similarity = np.where(other, embeddings @ embeddings.T, -np.inf)
        hit: FloatArray = truth[similarity.argmax(axis=1)].astype(np.float64)
        return hit

    found, plain = hits(held_out.embeddings), hits(held_out.plain)
    chance = [truth[other[query]].mean() for query in queries]
    interval = bootstrap_by_patient(
        lambda rows: _mean(found[queries[rows]]), [held_out.patients[query] for query in queries]
    )
    return _figure(
        held_out,
        ("retrieval", "recall@1"),
        interval,
        chance=_mean(np.array(chance)),
        baseline=("mean token", _mean(plain[queries])),
        rows=queries,
    )


def macro_figure(figures: Sequence[Figure], *, task: str, metric: str) -> Figure:
    """Mean of one figure over entities; its interval is the mean of their bounds, which is wider than a joint one."""
    rows = [figure for figure in figures if (figure.task, figure.metric) == (task, metric)]

    def mean(pick: Callable[[Figure], float]) -> float:
        return _mean(np.array([pick(figure) for figure in rows]))

    return Figure(
        task=task,
        entity="macro",
        metric=metric,
        value=mean(lambda figure: figure.value),
        lo=mean(lambda figure: figure.lo),
        hi=mean(lambda figure: figure.hi),
        chance=mean(lambda figure: figure.chance),
        baseline=rows[0].baseline if rows else "",
        baseline_value=mean(lambda figure: figure.baseline_value),
        n_patients=max((figure.n_patients for figure in rows), default=0),
        n_images=max((figure.n_images for figure in rows), default=0),
    )


def _auroc_figure(held_out: HeldOut, metric: str, kept: BoolArray) -> Figure:
    rows = np.flatnonzero(kept)
    truth, probability = held_out.truth[rows], held_out.probability[rows]
    is_ap = np.array([held_out.views[row] == "AP" for row in rows], dtype=np.float64)
    interval = bootstrap_by_patient(
        lambda picked: auroc(truth[picked], probability[picked]), [held_out.patients[row] for row in rows]
    )
    by_view = auroc(truth, is_ap) if len(rows) else float("nan")
    baseline = max(by_view, 1 - by_view)
    return _figure(held_out, ("presence", metric), interval, chance=0.5, baseline=("view alone", baseline), rows=rows)


def _rate_figure(held_out: HeldOut, metric: str, called: BoolArray, among: BoolArray) -> Figure:
    rows = np.flatnonzero(among)
    values = called[rows].astype(np.float64)
    interval = bootstrap_by_patient(lambda picked: _mean(values[picked]), [held_out.patients[row] for row in rows])
    none = float("nan")
    return _figure(held_out, ("presence", metric), interval, chance=none, baseline=("", none), rows=rows)


def _brier_figure(held_out: HeldOut) -> Figure:
    errors = (held_out.probability - held_out.truth) ** 2
    share = held_out.truth.mean()
    interval = bootstrap_by_patient(lambda picked: _mean(errors[picked]), held_out.patients)
    prevalence = float(share * (1 - share))
    return _figure(
        held_out,
        ("presence", "brier"),
        interval,
        chance=0.25,
        baseline=("prevalence", prevalence),
        rows=np.arange(len(errors)),
    )


def _figure(
    held_out: HeldOut,
    name: tuple[str, str],
    interval: Interval,
    *,
    chance: float,
    baseline: tuple[str, float],
    rows: NDArray[np.intp],
) -> Figure:
    return Figure(
        task=name[0],
        entity=held_out.entity,
        metric=name[1],
        value=interval.value,
        lo=interval.lo,
        hi=interval.hi,
        chance=chance,
        baseline=baseline[0],
        baseline_value=baseline[1],
        n_patients=len({held_out.patients[row] for row in rows}),
        n_images=len(rows),
    )


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else float("nan")
