"""Choosing the next token."""

import numpy as np
import pytest

from models.vlm.engine import GenerationOptionError, GenerationOptions
from models.vlm.sampling import next_token, nucleus, penalised, softmax, top_k

LOGITS = np.array([2.0, 1.0, -1.0, 0.5], dtype=np.float32)
NOTHING_SEEN = np.zeros(4, dtype=np.bool_)


def test_the_penalty_lowers_positive_and_negative_logits_of_seen_tokens_only() -> None:
    seen = np.array([True, False, True, False])
    assert penalised(LOGITS, seen, 2.0).tolist() == [1.0, 1.0, -2.0, 0.5]


def test_top_k_keeps_equals_of_the_last_one_kept() -> None:
    scores = np.array([3.0, 1.0, 2.0, 2.0])
    assert top_k(scores, 2).tolist() == [3.0, -np.inf, 2.0, 2.0]
    assert top_k(scores, 0) is scores


@pytest.mark.parametrize(("mass", "kept"), [(0.01, [0]), (0.5, [0]), (0.51, [0, 1]), (0.8, [0, 1]), (1.0, [0, 1, 2])])
def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass(mass: float, kept: list[int]) -> None:
    probability = np.array([0.5, 0.3, 0.2])
    assert np.flatnonzero(nucleus(probability, mass)).tolist() == kept


def test_temperature_zero_takes_the_likeliest_token_whatever_the_generator() -> None:
    options = GenerationOptions(temperature=0, repetition_penalty=1.0)
    assert {next_token(LOGITS, NOTHING_SEEN, options, np.random.default_rng(seed)) for seed in range(5)} == {0}


def test_the_penalty_changes_the_greedy_choice() -> None:
    options = GenerationOptions(temperature=0, repetition_penalty=2.1)
    seen = np.array([True, False, False, False])
    assert next_token(LOGITS, seen, options, np.random.default_rng(0)) == 1


def test_draws_follow_the_probabilities() -> None:
    options = GenerationOptions(temperature=0.7, repetition_penalty=1.0)
    generator = np.random.default_rng(1)
    drawn = np.bincount([next_token(LOGITS, NOTHING_SEEN, options, generator) for _ in range(4000)], minlength=4) / 4000
    assert np.abs(drawn - softmax(LOGITS.astype(np.float64) / 0.7)).max() < 0.03


def test_what_top_k_and_top_p_leave_out_is_never_drawn() -> None:
    generator = np.random.default_rng(2)
    options = GenerationOptions(temperature=5.0, top_k=3, top_p=0.6, repetition_penalty=1.0)
    assert {next_token(LOGITS, NOTHING_SEEN, options, generator) for _ in range(300)} == {0, 1}


def test_a_vanishing_temperature_is_greedy_without_overflow() -> None:
    options = GenerationOptions(temperature=1e-6, repetition_penalty=1.0)
    assert next_token(LOGITS, NOTHING_SEEN, options, np.random.default_rng(0)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"repetition_penalty": 0.0},
        {"seed": -1},
    ],
)
def test_an_option_out_of_range_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(GenerationOptionError) as caught:
        GenerationOptions(**wrong)  # type: ignore[arg-type]
    assert caught.value.option in wrong
