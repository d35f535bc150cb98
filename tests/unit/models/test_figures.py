"""Figures of an evaluation on readings whose truth is known."""

import numpy as np
import pytest

from models.encoder.figures import Cuts, Figure, HeldOut, macro_figure, presence_figures, retrieval_figure

COUNT = 60
TRUTH = np.arange(COUNT) % 3 == 0


def _held_out(probability: np.ndarray, embeddings: np.ndarray | None = None) -> HeldOut:
    generator = np.random.default_rng(5)
    plain = generator.normal(size=(COUNT, 4))
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    return HeldOut(
        entity="Pleura",
        truth=TRUTH,
        probability=probability,
        embeddings=plain if embeddings is None else embeddings,
        plain=plain,
        patients=tuple(f"P{number // 2}" for number in range(COUNT)),
        views=tuple("AP" if number % 2 else "PA" for number in range(COUNT)),
        abnormal=TRUTH | (np.arange(COUNT) % 3 == 1),
    )


def _by_metric(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.metric: figure for figure in figures}


def test_perfect_readings_score_one_everywhere() -> None:
    figures = _by_metric(presence_figures(_held_out(TRUTH.astype(float)), Cuts(present=0.5, absent=0.5)))
    for metric in ("auroc", "auroc_ap", "auroc_pa", "auroc_among_abnormal", "called_present_of_present"):
        assert (figures[metric].value, figures[metric].lo) == (1, 1)
    assert figures["undetermined"].value == 0
    assert figures["brier"].value == 0


def test_constant_readings_score_chance() -> None:
    figure = presence_figures(_held_out(np.full(COUNT, 0.4)), Cuts(present=0.5, absent=0.3))[0]
    assert (figure.value, figure.chance, figure.n_patients, figure.n_images) == (0.5, 0.5, COUNT // 2, COUNT)


def test_between_the_cuts_nothing_is_called() -> None:
    figures = _by_metric(presence_figures(_held_out(np.full(COUNT, 0.4)), Cuts(present=0.5, absent=0.3)))
    assert figures["undetermined"].value == 1
    assert figures["called_present_of_present"].value == figures["called_absent_of_present"].value == 0


def test_the_baseline_of_presence_is_the_view() -> None:
    figure = presence_figures(_held_out(np.full(COUNT, 0.4)), Cuts(present=0.5, absent=0.3))[0]
    assert figure.baseline == "view alone"
    assert figure.baseline_value == pytest.approx(0.5)


def test_retrieval_of_separable_embeddings_is_perfect_and_chance_is_the_prevalence() -> None:
    embeddings = np.stack((TRUTH, ~TRUTH), axis=1).astype(float)
    figure = retrieval_figure(_held_out(np.full(COUNT, 0.4), embeddings))
    assert figure.value == 1
    assert figure.chance == pytest.approx(TRUTH.mean(), abs=0.02)
    assert figure.n_images == TRUTH.sum()


def test_a_patients_own_films_are_never_retrieved() -> None:
    angles = np.array([0.0, 0.0, 0.2, 0.9])  # the two films of A are alike; next to them is B, which lacks the entity
    held_out = HeldOut(
        entity="Pleura",
        truth=np.array([True, True, False, False]),
        probability=np.zeros(4),
        embeddings=np.stack((np.cos(angles), np.sin(angles)), axis=1),
        plain=np.ones((4, 1)),
        patients=("A", "A", "B", "C"),
        views=("PA",) * 4,
        abnormal=np.ones(4, dtype=bool),
    )
    assert retrieval_figure(held_out).value == 0


def test_macro_is_the_mean_over_entities() -> None:
    one = presence_figures(_held_out(TRUTH.astype(float)), Cuts(present=0.5, absent=0.5))
    other = presence_figures(_held_out(np.full(COUNT, 0.4)), Cuts(present=0.5, absent=0.3))
    macro = macro_figure([*one, *other], task="presence", metric="auroc")
    assert (macro.entity, macro.value) == ("macro", 0.75)


def test_what_cannot_be_computed_is_written_as_none() -> None:
    held_out = _held_out(np.full(COUNT, 0.4))
    nothing = HeldOut(
        entity="Pleura",
        truth=np.zeros(COUNT, dtype=bool),
        probability=held_out.probability,
        embeddings=held_out.embeddings,
        plain=held_out.plain,
        patients=held_out.patients,
        views=held_out.views,
        abnormal=held_out.abnormal,
    )
    row = presence_figures(nothing, Cuts(present=0.5, absent=0.3))[0].as_row()
    assert row["value"] is row["lo"] is row["hi"] is None
