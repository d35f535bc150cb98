"""What a study's files say of its series."""

from pathlib import Path

import pytest

from models.shared.volumes import Plane, choose_series, scan_files
from tests.support.objects import basic_text_sr, save
from tests.support.volumes import CORONAL, SAGITTAL, Grid, ct_series, enhanced, mr_series, save_all

GRID = Grid(slices=8, step_mm=2.5, rows=12, columns=12)


def test_facts_of_a_ct_are_its_headers(tmp_path: Path) -> None:
    objects = ct_series(
        grid=GRID, ConvolutionKernel="STANDARD", ContrastBolusAgent="X", SeriesDescription="CHEST 2.5", ProtocolName="P"
    )
    (series,) = scan_files(save_all([*objects, objects[0]], tmp_path)).series
    facts = series.facts
    assert (facts.modality, facts.description, facts.protocol, facts.body_part) == ("CT", "CHEST 2.5", "P", "CHEST")
    assert (facts.image_type, facts.kernel, facts.contrast_agent) == (
        ("ORIGINAL", "PRIMARY", "AXIAL"),
        "STANDARD",
        True,
    )
    assert (facts.slice_count, facts.plane) == (8, Plane.AXIAL)
    assert (facts.thickness_mm, facts.slice_spacing_mm, facts.extent_mm) == pytest.approx((2.5, 2.5, 17.5))


def test_facts_of_an_mr_are_its_headers(tmp_path: Path) -> None:
    objects = mr_series(grid=GRID, InversionTime="900", SequenceName="*tfl3d1")
    (series,) = scan_files(save_all(objects, tmp_path)).series
    facts = series.facts
    assert (facts.echo_ms, facts.repetition_ms, facts.inversion_ms) == (12, 550, 900)
    assert (facts.sequence_name, facts.scanning_sequence) == ("*tfl3d1", ("SE",))


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        (CORONAL, Plane.CORONAL),
        (SAGITTAL, Plane.SAGITTAL),
        (((1, 0, 0), (0, 0.94, -0.342)), Plane.AXIAL),
        (((1, 0, 0), (0, 0.707, -0.707)), Plane.OBLIQUE),
    ],
)
def test_the_plane_is_that_of_the_patient(tmp_path: Path, orientation: tuple, plane: Plane) -> None:  # type: ignore[type-arg]
    grid = Grid(slices=4, rows=8, columns=8, orientation=orientation)
    (series,) = scan_files(save_all(ct_series(grid=grid), tmp_path)).series
    assert series.facts.plane is plane


def test_an_enhanced_object_gives_the_same_facts(tmp_path: Path) -> None:
    classic = ct_series(grid=GRID)
    (first,) = scan_files(save_all(classic, tmp_path / "classic")).series
    (second,) = scan_files([save(enhanced(classic), tmp_path / "enhanced.dcm")]).series
    assert second.facts == first.facts


def test_a_study_is_scanned_by_series_and_its_documents_passed_over(tmp_path: Path) -> None:
    soft = ct_series(grid=GRID, seed="soft", ConvolutionKernel="STANDARD")
    lung = ct_series(grid=GRID, seed="lung", ConvolutionKernel="LUNG")
    files = save_all([*lung, *soft], tmp_path)
    scanned = scan_files([*files, save(basic_text_sr(), tmp_path / "sr.dcm")])
    choice = choose_series([series.facts for series in scanned.series], "3D-CT")
    assert [candidate.facts.kernel for candidate in choice.candidates] == ["STANDARD", "LUNG"]
    assert scanned.unreadable == ()
