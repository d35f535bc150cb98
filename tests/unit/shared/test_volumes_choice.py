"""Which series of a study is read."""

from dataclasses import replace
from typing import Any

import pytest

from models.shared.volumes import (
    LEFT_OUT_SENTENCES,
    LeftOut,
    Plane,
    SeriesFacts,
    SeriesPreference,
    VolumeError,
    VolumeErrorCode,
    choose_series,
)
from models.shared.volumes.words import (
    Kernel,
    Phase,
    Region,
    Sequence,
    kernel_of,
    phase_of,
    region_of,
    sequence_of,
)

CHEST = SeriesFacts(
    series_uid="1",
    modality="CT",
    description="Chest",
    body_part="CHEST",
    image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
    slice_count=150,
    plane=Plane.AXIAL,
    thickness_mm=2.0,
    slice_spacing_mm=2.0,
    extent_mm=300.0,
    kernel="STANDARD",
)
BRAIN = replace(CHEST, modality="MR", description="t1_se_tra", body_part="BRAIN", kernel="", thickness_mm=5.0)


def order_of(*series: SeriesFacts, family: str = "3D-CT", **preference: Any) -> list[str]:
    """UIDs of the candidates; the order in which the series come must not matter."""
    chosen = choose_series(series, family, SeriesPreference(**preference))
    assert chosen == choose_series(reversed(series), family, SeriesPreference(**preference))
    return [candidate.facts.series_uid for candidate in chosen.candidates]


def why_left(facts: SeriesFacts, family: str = "3D-CT") -> LeftOut | None:
    """Reason why a series is not read beside a good one."""
    good = replace(CHEST if family == "3D-CT" else BRAIN, series_uid="good")
    choice = choose_series([good, facts], family)
    return dict(choice.left_out).get(facts.series_uid)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "MR"}, LeftOut.OTHER_MODALITY),
        ({"plane": Plane.CORONAL}, LeftOut.NOT_AXIAL),
        ({"plane": Plane.SAGITTAL}, LeftOut.NOT_AXIAL),
        ({"plane": Plane.OBLIQUE}, LeftOut.NOT_AXIAL),
        ({"plane": Plane.UNKNOWN}, LeftOut.NO_GEOMETRY),
        ({"slice_count": 3}, LeftOut.TOO_FEW_SLICES),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, LeftOut.LOCALIZER),
        ({"description": "Topogram 0.6"}, LeftOut.LOCALIZER),
        ({"description": "Dose Report"}, LeftOut.NOT_AN_IMAGE_SERIES),
        ({"description": "Patient Protocol"}, LeftOut.NOT_AN_IMAGE_SERIES),
        ({"description": "Thorax MIP 8/2"}, LeftOut.DERIVED),
        ({"image_type": ("DERIVED", "SECONDARY", "REFORMATTED")}, LeftOut.DERIVED),
        ({"image_type": ("DERIVED", "PRIMARY", "MIN_IP")}, LeftOut.DERIVED),
        ({"description": "Abdomen 3.0"}, LeftOut.OTHER_BODY_PART),
        ({"description": "3.0", "body_part": "KNEE"}, LeftOut.OTHER_BODY_PART),
        ({"description": "3.0", "body_part": "", "study_description": "CT Head"}, LeftOut.OTHER_BODY_PART),
        ({"description": "Low dose chest"}, None),
        ({"description": "Thorax lung protocol"}, None),
        ({"description": "3.0", "body_part": "CHESTABDPELVIS"}, None),
        ({"description": "3.0", "body_part": ""}, None),
    ],
)
def test_a_chest_series_is_left_out_for_its_reason(changes: dict[str, Any], reason: LeftOut | None) -> None:
    assert why_left(replace(CHEST, **changes)) is reason


def test_every_reason_has_a_sentence() -> None:
    assert set(LEFT_OUT_SENTENCES) == set(LeftOut)


def test_the_soft_kernel_comes_before_the_lung_kernel() -> None:
    lung = replace(CHEST, series_uid="0", kernel="LUNG", slice_count=300)
    unknown = replace(CHEST, series_uid="2", kernel="")
    assert order_of(lung, CHEST, unknown) == ["1", "2", "0"]


@pytest.mark.parametrize("thickness_mm", [0.6, 5.0, 8.0, None])
def test_slices_of_two_millimetres_come_first(thickness_mm: float | None) -> None:
    other = replace(CHEST, series_uid="0", thickness_mm=thickness_mm, slice_spacing_mm=None, slice_count=400)
    assert order_of(other, CHEST) == ["1", "0"]


def test_the_preferred_thickness_can_be_set() -> None:
    thin = replace(CHEST, series_uid="0", thickness_mm=1.0)
    assert order_of(thin, CHEST, thickness_mm=(0.5, 1.0)) == ["0", "1"]


def test_the_preferred_phase_can_be_set() -> None:
    native = replace(CHEST, series_uid="0", description="Chest native")
    venous = replace(CHEST, series_uid="2", description="Chest venous", contrast_agent=True)
    assert order_of(venous, native) == ["0", "2"]
    assert order_of(venous, native, phases=(Phase.PORTAL_VENOUS,)) == ["2", "0"]


def test_an_original_comes_before_a_derived_series() -> None:
    derived = replace(CHEST, series_uid="0", image_type=("DERIVED", "PRIMARY", "AXIAL"), slice_count=500)
    assert order_of(derived, CHEST) == ["1", "0"]


def test_of_equal_series_the_one_that_shows_more_comes_first() -> None:
    short = replace(CHEST, series_uid="0", extent_mm=100.0, slice_count=50)
    assert order_of(short, CHEST) == ["1", "0"]


def test_a_derived_series_is_read_only_where_nothing_else_is() -> None:
    mip = replace(CHEST, series_uid="0", description="Chest MIP")
    assert order_of(mip, CHEST) == ["1"]
    choice = choose_series([mip], "3D-CT")
    assert [(candidate.facts.series_uid, candidate.last_resort) for candidate in choice.candidates] == [
        ("0", LeftOut.DERIVED)
    ]
    assert choice.left_out == ()


def test_weightings_come_in_the_order_asked_for() -> None:
    names = ("t1_se_tra", "t2_tse_tra", "t2_flair_tra", "Ax T1 +C")
    series = [replace(BRAIN, series_uid=name, description=name) for name in names]
    assert order_of(*series, family="3D-Brain-MRI") == list(names)
    flair_first = (Sequence.FLAIR, Sequence.T2)
    assert order_of(*series, family="3D-Brain-MRI", sequences=flair_first)[:2] == [names[2], names[1]]


def test_axial_slices_come_before_other_planes_of_a_brain() -> None:
    sagittal = replace(BRAIN, series_uid="0", plane=Plane.SAGITTAL, description="t1_mprage_sag", slice_count=176)
    flair = replace(BRAIN, description="t2_flair_tra")
    assert order_of(sagittal, flair, family="3D-Brain-MRI") == ["1", "0"]


@pytest.mark.parametrize("name", ["ep2d_diff_trace_ADC", "Ax DWI", "3D TOF", "ep2d_perf"])
def test_maps_of_a_brain_are_read_only_where_nothing_else_is(name: str) -> None:
    series = replace(BRAIN, series_uid="0", description=name)
    assert why_left(series, "3D-Brain-MRI") is LeftOut.MAP
    assert order_of(series, family="3D-Brain-MRI") == ["0"]


@pytest.mark.parametrize("part", ["LSPINE", "KNEE", "CHEST"])
def test_another_part_of_the_body_is_no_brain(part: str) -> None:
    other = replace(BRAIN, series_uid="0", body_part=part)
    assert why_left(other, "3D-Brain-MRI") is LeftOut.OTHER_BODY_PART


@pytest.mark.parametrize("family", ["2D-CXR", "2D-Ultrasound", ""])
def test_a_family_without_series_has_none_to_choose(family: str) -> None:
    with pytest.raises(VolumeError) as caught:
        choose_series([CHEST], family)
    assert caught.value.code is VolumeErrorCode.WRONG_MODALITY


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("STANDARD", Kernel.SOFT),
        ("LUNG", Kernel.SHARP),
        ("BONEPLUS", Kernel.SHARP),
        ("B30f", Kernel.SOFT),
        ("B70f", Kernel.SHARP),
        ("I40f\\2", Kernel.SOFT),
        ("Br44d\\3", Kernel.SOFT),
        ("Bl57", Kernel.SHARP),
        ("FC17", Kernel.SOFT),
        ("FC51", Kernel.SHARP),
        ("B", Kernel.SOFT),
        ("L", Kernel.SHARP),
        ("", Kernel.UNKNOWN),
    ],
)
def test_kernels_of_the_vendors_are_known(name: str, expected: Kernel) -> None:
    assert kernel_of(replace(CHEST, kernel=name)) is expected


@pytest.mark.parametrize(
    ("description", "agent", "expected"),
    [
        ("Thorax non-contrast", True, Phase.NATIVE),
        ("Thorax art.", True, Phase.ARTERIAL),
        ("Thorax PORTAL", True, Phase.PORTAL_VENOUS),
        ("Body 1.0 CE", False, Phase.CONTRAST),
        ("Thorax", True, Phase.CONTRAST),
        ("Thorax", False, Phase.UNKNOWN),
    ],
)
def test_the_phase_is_what_the_words_say(description: str, agent: bool, expected: Phase) -> None:
    assert phase_of(replace(CHEST, description=description, contrast_agent=agent)) is expected


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("t2_tirm_tra_dark-fluid", Sequence.FLAIR),
        ("sT2W/FLAIR", Sequence.FLAIR),
        ("eT1W_SE", Sequence.T1),
        ("T2* GRE", Sequence.SUSCEPTIBILITY),
        ("T1 post", Sequence.T1_CONTRAST),
        ("ep2d_diff_trace_ADC", Sequence.ADC),
        ("PD tra", Sequence.PROTON_DENSITY),
    ],
)
def test_the_weighting_is_what_the_words_say(description: str, expected: Sequence) -> None:
    assert sequence_of(replace(BRAIN, description=description)) is expected


@pytest.mark.parametrize(
    ("echo_ms", "repetition_ms", "inversion_ms", "b_value", "expected"),
    [
        (12, 550, None, None, Sequence.T1),
        (100, 4000, None, None, Sequence.T2),
        (100, 9000, 2500, None, Sequence.FLAIR),
        (15, 3000, None, None, Sequence.PROTON_DENSITY),
        (90, 5000, None, 1000, Sequence.DIFFUSION),
        (None, 550, None, None, Sequence.UNKNOWN),
    ],
)
def test_without_words_the_timing_tells_the_weighting(
    echo_ms: float | None,
    repetition_ms: float | None,
    inversion_ms: float | None,
    b_value: float | None,
    expected: Sequence,
) -> None:
    facts = replace(
        BRAIN,
        description="tra",
        echo_ms=echo_ms,
        repetition_ms=repetition_ms,
        inversion_ms=inversion_ms,
        b_value=b_value,
    )
    assert sequence_of(facts) is expected


@pytest.mark.parametrize(
    ("description", "part", "study", "expected"),
    [
        ("CHEST 2.5 MM/ABD.PEL 2.5MM", "", "", Region.CHEST),
        ("Body 1.0 CE", "CHEST_TO_PELVIS", "", Region.CHEST),
        ("Abdomen", "CHEST", "", Region.OTHER),
        ("t2 tra", "HEADNECK", "", Region.BRAIN),
        ("STANDARD 2.5MM", "", "CT CHEST", Region.CHEST),
        ("x", "", "", Region.UNKNOWN),
    ],
)
def test_the_part_of_the_body_is_the_series_own_word_first(
    description: str, part: str, study: str, expected: Region
) -> None:
    facts = replace(CHEST, description=description, body_part=part, study_description=study)
    assert region_of(facts) is expected
