"""Variations of training films, which need no torch."""

import numpy as np

from models.encoder.train.augment import vary

SIDE = 64


def _film() -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.asarray((rows + 2 * columns) / (3 * SIDE), dtype=np.float32)


def test_a_variation_is_still_a_film_and_another_one() -> None:
    varied = vary(_film(), np.random.default_rng(0))
    assert varied.shape == (SIDE, SIDE)
    assert varied.dtype == np.dtype(np.float32)
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert np.abs(varied - _film()).max() > 0.01


def test_the_same_seed_varies_alike() -> None:
    np.testing.assert_array_equal(vary(_film(), np.random.default_rng(4)), vary(_film(), np.random.default_rng(4)))


def test_a_film_is_never_mirrored() -> None:
    marked = np.zeros((SIDE, SIDE), dtype=np.float32)
    marked[24:40, 46:54] = 1  # on the right of the picture
    for seed in range(40):
        columns = vary(marked, np.random.default_rng(seed)).sum(axis=0)
        assert columns[SIDE // 2 + 4 :].sum() > columns[: SIDE // 2 - 4].sum()
