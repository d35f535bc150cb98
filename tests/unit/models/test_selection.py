"""Which tokens the reranker reads, and the position table that goes with them."""

from pathlib import Path

import numpy as np
import pytest

from models.encoder.selection import rerank_side, select_tokens, strongest_tokens
from models.shared.positions import sinusoidal_positions

FIXTURES = Path(__file__).parents[2] / "fixtures" / "medreco_parity"


def test_position_table_is_that_of_the_reference() -> None:
    with np.load(FIXTURES / "pos_embedding_full_576x512.npz") as arrays:
        np.testing.assert_allclose(sinusoidal_positions(24, 24, 512), arrays["pos"], atol=2e-6)


def test_position_table_has_the_row_in_its_first_half_and_is_cut_to_the_width() -> None:
    table = sinusoidal_positions(3, 5, 10)  # six channels an axis, of which the column's lose the last two
    assert table.shape == (15, 10)
    np.testing.assert_allclose(table[7], np.array([*_axis(1), *_axis(2)])[:10], atol=1e-7)


def _axis(place: int) -> list[float]:
    return [wave(place * 10000 ** (-2 * k / 6)) for k in range(3) for wave in (np.sin, np.cos)]


def test_tokens_come_in_descending_attention_with_their_positions() -> None:
    tokens = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    attention = np.array([[[0.1, 0.4, 0.2, 0.3], [0.7, 0.0, 0.2, 0.1]]], dtype=np.float32)
    selected = select_tokens(tokens, attention, 2)
    positions = sinusoidal_positions(24, 24, 2)
    np.testing.assert_array_equal(selected[0, 0], tokens[0, [1, 3]] + positions[[1, 3]])
    np.testing.assert_array_equal(selected[0, 1], tokens[0, [0, 2]] + positions[[0, 2]])


def test_of_equal_tokens_the_earlier_is_taken() -> None:
    assert strongest_tokens(np.ones((1, 5), dtype=np.float32), 3).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("k", [0, 5])
def test_as_many_tokens_as_there_are_not_cannot_be_selected(k: int) -> None:
    with pytest.raises(ValueError, match="tokens cannot be selected"):
        strongest_tokens(np.ones((1, 4), dtype=np.float32), k)


def test_maps_of_other_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="do not belong"):
        select_tokens(np.zeros((1, 4, 2), dtype=np.float32), np.zeros((1, 1, 5), dtype=np.float32), 2)


def test_a_side_of_a_pair_begins_with_the_latent() -> None:
    latents, selected = np.zeros((2, 3), dtype=np.float32), np.ones((2, 4, 3), dtype=np.float32)
    side = rerank_side(latents, selected)
    assert side.shape == (2, 5, 3)
    assert (side[:, 0] == 0).all()
    assert (side[:, 1:] == 1).all()
