"""Evidence regions hold what they promise for any attention map."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encoder.evidence import evidence_region

SIDES = st.integers(1, 8)


@st.composite
def attention_maps(draw: st.DrawFn) -> np.ndarray:
    side = draw(SIDES)
    weights = draw(st.lists(st.integers(0, 1000), min_size=side * side, max_size=side * side))
    grid = np.array(weights, dtype=np.float64)
    grid[draw(st.integers(0, side * side - 1))] += 1  # never all zero
    return np.asarray(grid / grid.sum(), dtype=np.float32)


SHARES = st.floats(0.01, 1.0)


@given(attention_maps(), SHARES)
def test_region_holds_the_share_and_needs_its_last_cell(attention: np.ndarray, share: float) -> None:
    region = evidence_region(attention, mass_share=share)
    assert region.mass >= share - 1e-5
    without_last = attention[list(region.cells[:-1])].sum() / attention.sum()
    assert without_last < share


@given(attention_maps(), SHARES)
def test_region_is_connected_and_starts_at_the_peak(attention: np.ndarray, share: float) -> None:
    side = int(attention.size**0.5)
    cells = evidence_region(attention, mass_share=share).cells
    assert attention[cells[0]] == attention.max()
    for number, cell in enumerate(cells[1:], start=1):
        row, column = divmod(cell, side)
        before = [divmod(earlier, side) for earlier in cells[:number]]
        assert any(abs(row - r) + abs(column - c) == 1 for r, c in before)


@given(attention_maps(), SHARES)
def test_box_lies_in_the_image_and_bounds_the_cells(attention: np.ndarray, share: float) -> None:
    side = int(attention.size**0.5)
    region = evidence_region(attention, mass_share=share)
    rows, columns = np.divmod(np.array(region.cells), side)
    assert (region.x, region.y) == pytest.approx((columns.min() / side, rows.min() / side))
    assert region.x + region.width == pytest.approx((columns.max() + 1) / side)
    assert region.y + region.height == pytest.approx((rows.max() + 1) / side)
    assert 0 < region.width <= 1
    assert 0 < region.height <= 1
    assert region.mass - 1e-6 <= region.box_mass <= 1 + 1e-6


@given(attention_maps(), st.floats(0.01, 0.5), st.floats(0.5, 1.0))
def test_a_larger_share_never_gives_a_smaller_region(attention: np.ndarray, small: float, large: float) -> None:
    fewer, more = (evidence_region(attention, mass_share=share).cells for share in (small, large))
    assert more[: len(fewer)] == fewer


@given(attention_maps(), SHARES)
def test_a_map_turned_over_gives_the_region_turned_over(attention: np.ndarray, share: float) -> None:
    side = int(attention.size**0.5)
    distinct = attention.astype(np.float64) + np.arange(attention.size) * 1e-6  # no ties, which are broken by position
    distinct /= distinct.sum()
    turned = distinct.reshape(side, side)[:, ::-1].ravel()
    region, mirror = evidence_region(distinct, mass_share=share), evidence_region(turned, mass_share=share)
    assert mirror.x == pytest.approx(1 - region.x - region.width)
    assert (mirror.y, mirror.height) == (region.y, region.height)


@pytest.mark.parametrize(
    ("attention", "share"),
    [
        (np.full(3, 1 / 3), 0.5),
        (np.full((2, 2), 0.25), 0.5),
        (np.zeros(0), 0.5),
        (np.array([1.5, -0.5, 0, 0]), 0.5),
        (np.array([np.nan, 0, 0, 1]), 0.5),
        (np.full(4, 0.5), 0.5),
        (np.full(4, 0.25), 0.0),
        (np.full(4, 0.25), 1.1),
    ],
    ids=["not square", "not flat", "empty", "negative", "NaN", "sums to 2", "share 0", "share above 1"],
)
def test_what_is_no_attention_map_is_refused(attention: np.ndarray, share: float) -> None:
    with pytest.raises(ValueError, match=r"attention|share"):
        evidence_region(attention, mass_share=share)
