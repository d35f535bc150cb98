"""Calibration and cuts."""

import numpy as np
import pytest

from models.encoder.bundle import Calibration
from models.encoder.calibration import apply_platt, choose_cuts, fit_platt

GENERATOR = np.random.default_rng(3)


def test_platt_finds_the_scale_that_made_the_labels() -> None:
    logits = GENERATOR.normal(size=20_000)
    truth = GENERATOR.random(20_000) < apply_platt(Calibration(slope=1.7, intercept=-0.6), logits)
    fitted = fit_platt(logits, truth)
    assert fitted.slope == pytest.approx(1.7, abs=0.1)
    assert fitted.intercept == pytest.approx(-0.6, abs=0.1)


def test_platt_stays_finite_on_separable_logits() -> None:
    truth = np.arange(40) >= 20
    fitted = fit_platt(np.where(truth, 5.0, -5.0), truth)
    assert np.isfinite([fitted.slope, fitted.intercept]).all()


def test_platt_refuses_a_single_class() -> None:
    with pytest.raises(ValueError, match="with and without"):
        fit_platt(np.zeros(3), np.ones(3, dtype=bool))


def test_cuts_keep_both_errors_within_tolerance() -> None:
    truth = GENERATOR.random(500) < 0.2
    probability = np.clip(GENERATOR.normal(0.3 + 0.2 * truth, 0.15), 0, 1)
    cuts = choose_cuts(probability, truth, tolerated_error=0.1)
    assert cuts.absent <= cuts.present
    assert (probability[~truth] >= cuts.present).mean() <= 0.1
    assert (probability[truth] < cuts.absent).mean() <= 0.1


def test_cuts_meet_where_the_classes_are_far_apart() -> None:
    truth = np.arange(100) >= 50
    cuts = choose_cuts(np.where(truth, 0.9, 0.1), truth)
    assert cuts.present == pytest.approx(0.5)
    assert cuts.absent == pytest.approx(0.5)


def test_cuts_refuse_a_single_class() -> None:
    with pytest.raises(ValueError, match="with and without"):
        choose_cuts(np.zeros(3), np.zeros(3, dtype=bool))
