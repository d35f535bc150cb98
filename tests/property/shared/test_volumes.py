"""Property: a box in the patient lands at the same place of the input however its slices were taken and sent."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.shared.volumes import input_spec, read_volume, scan_files, volume_input
from models.shared.volumes.resampling import composed, half_pixel_taps, taps_at
from tests.support.volumes import BoxPhantom, Grid, Vector, ct_series, save_all

CT = input_spec("3D-CT", depth=60, side_px=120)
STEP_MM = (6.0, 3.0, 3.0)
UNITS: list[Vector] = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
ORIENTATIONS = [(row, column) for row, column in itertools.permutations(UNITS, 2) if np.dot(row, column) == 0]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Fields of about 200 mm on every axis, of any orientation and spacing."""
    step_mm, down_mm, along_mm = (draw(st.sampled_from([4.0, 5.0, 7.5])) for _ in range(3))
    return Grid(
        slices=round(200 / step_mm),
        step_mm=step_mm,
        rows=round(200 / down_mm),
        columns=round(200 / along_mm),
        spacing_mm=(down_mm, along_mm),
        orientation=draw(st.sampled_from(ORIENTATIONS)),
    )


@settings(max_examples=20, deadline=None)
@given(
    grid=grids(),
    centre=st.tuples(*[st.floats(-40, 40) for _ in range(3)]),
    order_seed=st.integers(0, 1000),
)
def test_a_box_lands_at_its_place_whatever_order_orientation_and_spacing(
    grid: Grid, centre: Vector, order_seed: int
) -> None:
    phantom = BoxPhantom(centre_mm=centre)
    order = np.random.default_rng(order_seed).permutation(len(grid.offsets_mm)).tolist()
    with TemporaryDirectory() as folder:
        (series,) = scan_files(save_all(ct_series(phantom, grid), Path(folder), order=order)).series
        made = volume_input(read_volume(series.slices, "CT"), CT)
    weight = np.where(made.voxels < 0, 0, np.clip(made.voxels - 0.05, 0, None)).astype(np.float64)
    found = [
        float((weight.sum(axis=others) * (np.arange(size) + 0.5)).sum() / weight.sum())
        for size, others in zip(weight.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
    ]
    x, y, z = centre
    # by the placement exactly, and on the input itself to within a voxel of where a field centred there would show it
    assert made.placement.point_lps_mm((found[0], found[1], found[2])) == pytest.approx(centre, abs=1.5)
    expected = [size / 2 + mm / step for size, mm, step in zip(CT.shape, (z, -x, -y), STEP_MM, strict=True)]
    assert found == pytest.approx(expected, abs=1.5)


@given(size=st.integers(1, 40), between=st.integers(1, 60), outputs=st.integers(1, 80), seed=st.integers(0, 99))
def test_composed_taps_interpolate_twice(size: int, between: int, outputs: int, seed: int) -> None:
    line = np.random.default_rng(seed).normal(size=size)
    first = taps_at(np.linspace(-1, size, between), size)
    second = half_pixel_taps(between, outputs)
    twice = second.matrix(between) @ (first.matrix(size) @ line)
    assert composed(second, first).matrix(size) @ line == pytest.approx(twice)


@given(size=st.integers(1, 50), outputs=st.integers(1, 120))
def test_taps_of_a_resize_sum_to_one_and_stay_inside(size: int, outputs: int) -> None:
    taps = half_pixel_taps(size, outputs)
    assert taps.weight.sum(axis=1) == pytest.approx(np.ones(outputs))
    assert taps.weight.min() >= 0
    assert 0 <= taps.index.min() <= taps.index.max() < size
