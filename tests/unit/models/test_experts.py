"""What weights tell of experts: trained, never trained, copied."""

import numpy as np
import pytest

from models.shared.experts import ExpertState, expert_statistics, matrix_shape

WIDTH, INNER = 48, 64
BANKS = (
    "visual_transformer.enc_spatial_transformer.layers.0.3",
    "visual_transformer.enc_spatial_transformer.layers.1.3",
)
State = dict[str, np.ndarray]


def _uniform(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    bound = np.sqrt(6 / (rows + columns))
    return random.uniform(-bound, bound, (rows, columns)).astype(np.float32)


def _expert(seed: int, *, trained: bool, shrink: float = 1.0) -> State:
    """Entries of one expert in both banks, by the rest of their keys."""
    random = np.random.default_rng(seed)
    entries: State = {}
    for bank in BANKS:
        up, down = _uniform(random, 2 * INNER, WIDTH), _uniform(random, WIDTH, INNER)
        norm, bias = np.ones(WIDTH, dtype=np.float32), np.zeros(WIDTH, dtype=np.float32)
        if trained:
            up += random.standard_t(4, up.shape).astype(np.float32) * 0.05
            down += random.standard_t(4, down.shape).astype(np.float32) * 0.05
            norm += random.normal(0, 0.1, WIDTH).astype(np.float32)
        entries |= {f"{bank}.experts.E.0.weight": norm, f"{bank}.experts.E.0.bias": bias}
        entries |= {f"{bank}.experts.E.1.weight": up * shrink, f"{bank}.experts.E.4.weight": down * shrink}
    return entries


def _state(*experts: State) -> State:
    named = {"cls_token": np.zeros((1, 1, WIDTH), dtype=np.float32)}
    for number, expert in enumerate(experts):
        named |= {key.replace(".E.", f".{number}."): value for key, value in expert.items()}
    return named


def test_trained_and_untouched_experts_are_told_apart() -> None:
    trained, fresh, decayed = (
        _expert(1, trained=True),
        _expert(2, trained=False),
        _expert(3, trained=False, shrink=0.6),
    )
    first, second, third = expert_statistics(_state(trained, fresh, decayed))
    assert [one.state for one in (first, second, third)] == [
        ExpertState.TRAINED,
        ExpertState.UNTOUCHED,
        ExpertState.UNTOUCHED,
    ]
    assert (first.norms_untouched, second.norms_untouched) == (False, True)
    assert (second.matrices, second.uniform_matrices) == (4, 4)
    assert second.shrink_least == pytest.approx(1, abs=0.03)
    assert third.shrink_most == pytest.approx(0.6, abs=0.03)


def test_a_copy_is_told_from_its_original_even_when_decay_shrank_it() -> None:
    original, other = _expert(1, trained=True), _expert(2, trained=True)
    copy = {key: value * (0.8 if value.ndim == 2 else 1) for key, value in original.items()}
    statistics = expert_statistics(_state(original, other, copy))
    assert [one.copy_of for one in statistics] == [None, None, 0]
    assert statistics[2].state is ExpertState.COPY


def test_an_expert_with_uniform_weights_and_moved_norms_is_uncertain() -> None:
    expert = _expert(1, trained=False)
    key = f"{BANKS[0]}.experts.E.0.weight"
    expert[key] = expert[key] + np.float32(0.01)
    assert expert_statistics(_state(expert))[0].state is ExpertState.UNCERTAIN


def test_gaussian_weights_are_not_taken_for_an_initialisation() -> None:
    random = np.random.default_rng(0)
    assert not matrix_shape(random.normal(0, 0.02, (64, 64))).is_uniform
    assert matrix_shape(_uniform(random, 64, 64)).is_uniform
    assert not matrix_shape(np.zeros((64, 64))).is_uniform


def test_a_state_without_experts_has_no_statistics() -> None:
    assert expert_statistics({"cls_token": np.zeros((1, 1, 4))}) == ()
