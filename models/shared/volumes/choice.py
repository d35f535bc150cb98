"""Which series of a study the model reads: facts of its series enter; the candidates, best first, and the rest leave.

Every series that is left out is named with its reason. The order depends on the headers alone, never on arrival.

Chest CT. Axial originals of the chest. The soft kernel comes before the sharp lung kernel: the model's window is the
whole range from -1000 to 1000 HU and its voxels are 0.75 mm, so the detail above that which a sharp kernel adds cannot
be shown, while its noise and its overshoot at edges stay. Thickness near 1.5 to 3 mm comes first: what is thicker has
lost small findings, what is thinner is noisier and sampled down without gain.

The native phase comes first by default, since most of the public chest CT that such models are trained on is without
contrast; a site that reads contrast studies sets its own order.

Brain MR. One series speaks for the study; which weighting comes first can be configured.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from models.shared.volumes.errors import VolumeError, VolumeErrorCode
from models.shared.volumes.facts import Plane, SeriesFacts
from models.shared.volumes.spec import Family
from models.shared.volumes.words import (
    Kernel,
    Phase,
    Region,
    Sequence,
    kernel_of,
    phase_of,
    region_of,
    sequence_of,
    words_of,
)


class LeftOut(StrEnum):
    """Why a series is not read."""

    OTHER_MODALITY = "other-modality"
    OTHER_BODY_PART = "other-body-part"
    LOCALIZER = "localizer"
    NOT_AN_IMAGE_SERIES = "not-an-image-series"
    DERIVED = "derived"
    NOT_AXIAL = "not-axial"
    NO_GEOMETRY = "no-geometry"
    TOO_FEW_SLICES = "too-few-slices"
    MAP = "map"


LEFT_OUT_SENTENCES = {
    LeftOut.OTHER_MODALITY: "The series is of a modality that the model does not read.",
    LeftOut.OTHER_BODY_PART: "The series shows another part of the body.",
    LeftOut.LOCALIZER: "The series is a localizer.",
    LeftOut.NOT_AN_IMAGE_SERIES: "The series holds dose, screen or report pages.",
    LeftOut.DERIVED: "The series is derived: a projection, a subtraction or another rendering.",
    LeftOut.NOT_AXIAL: "The series is not axial.",
    LeftOut.NO_GEOMETRY: "The images do not say where they lie in the patient.",
    LeftOut.TOO_FEW_SLICES: "The series has too few slices.",
    LeftOut.MAP: "The series is diffusion, perfusion, an angiography or a map computed of them.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPreference:
    """What is taken first among series that can be read; what is not named comes after, in the order of the type.

    Attributes
    ----------
    phases
        CT: contrast phases, best first.
    sequences
        MR: weightings, best first.
    thickness_mm
        CT: slices from the first to the second value are preferred.
    min_slices
        A series with fewer slices is left out.
    """

    phases: tuple[Phase, ...] = (Phase.NATIVE, Phase.UNKNOWN, Phase.CONTRAST, Phase.PORTAL_VENOUS, Phase.ARTERIAL)
    sequences: tuple[Sequence, ...] = (
        Sequence.T1,
        Sequence.T2,
        Sequence.FLAIR,
        Sequence.T1_CONTRAST,
        Sequence.PROTON_DENSITY,
        Sequence.SUSCEPTIBILITY,
    )
    thickness_mm: tuple[float, float] = (1.5, 3.0)
    min_slices: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesCandidate:
    """A series that can be read. `last_resort`: it is read only because nothing better is there, and why."""

    facts: SeriesFacts
    last_resort: LeftOut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesChoice:
    """Series the model can read, best first, and those it does not with the reason for each."""

    candidates: tuple[SeriesCandidate, ...]
    left_out: tuple[tuple[str, LeftOut], ...]


DEFAULT_PREFERENCE = SeriesPreference()


def choose_series(
    series: Iterable[SeriesFacts], modality: str, preference: SeriesPreference = DEFAULT_PREFERENCE
) -> SeriesChoice:
    """Sort the series of a study for one family ("3D-CT", "3D-Brain-MRI").

    Raises
    ------
    VolumeError
        wrong-modality for a family without series to choose.
    """
    if modality == Family.CHEST_CT:
        return _chosen(series, preference, _ct_reason, _ct_key)
    if modality == Family.BRAIN_MRI:
        return _chosen(series, preference, _mr_reason, _mr_key)
    raise VolumeError(VolumeErrorCode.WRONG_MODALITY)


Reason = Callable[[SeriesFacts, SeriesPreference], LeftOut | None]
Key = Callable[[SeriesFacts, SeriesPreference], tuple[float, ...]]
_LAST_RESORTS = frozenset({LeftOut.DERIVED, LeftOut.MAP})
_LOCALIZER_WORDS = frozenset(
    {"LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM", "SURVIEW", "TOPO", "SURVEY", "LOC", "PILOT"}
)
_PAGE_WORDS = frozenset({"SMARTPREP", "PREMONITORING", "MONITORING", "SCREENSAVE"})
# Two words together: a low dose chest or a lung protocol is the series wanted
_PAGE_PHRASES = (
    (frozenset({"DOSE"}), frozenset({"REPORT", "INFO", "INFORMATION", "SUMMARY", "RECORD", "PAGE", "SHEET"})),
    (frozenset({"PROTOCOL"}), frozenset({"PATIENT"})),
    (frozenset({"SUMMARY"}), frozenset({"EXAM", "STUDY"})),
    (frozenset({"SCREEN"}), frozenset({"SAVE", "CAPTURE", "SHOT"})),
)
_RENDERINGS = frozenset({"MIP", "MINIP", "MPR", "VRT", "VR", "SSD", "CURVED", "SUB", "SUBTRACTION", "OVERLAY"})
_RENDERING_TYPES = frozenset(
    {"PROJECTION IMAGE", "MIP", "MINIP", "MAX_IP", "MIN_IP", "SUBTRACT", "SUBTRACTION", "VOLREN"}
)
_LOCALIZER_TYPES = frozenset({"LOCALIZER", "SCOUT"})
_MAPS = frozenset({Sequence.ADC, Sequence.DIFFUSION, Sequence.PERFUSION, Sequence.ANGIOGRAPHY})


def _chosen(series: Iterable[SeriesFacts], preference: SeriesPreference, reason: Reason, key: Key) -> SeriesChoice:
    judged = [(facts, reason(facts, preference)) for facts in sorted(series, key=lambda facts: facts.series_uid)]
    readable = [SeriesCandidate(facts=facts) for facts, why in judged if why is None]
    if not readable:
        readable = [SeriesCandidate(facts=facts, last_resort=why) for facts, why in judged if why in _LAST_RESORTS]
    readable.sort(key=lambda candidate: (candidate.last_resort is LeftOut.MAP, *key(candidate.facts, preference)))
    taken = {candidate.facts.series_uid for candidate in readable}
    left_out = tuple((facts.series_uid, why) for facts, why in judged if why and facts.series_uid not in taken)
    return SeriesChoice(candidates=tuple(readable), left_out=left_out)


def _common_reason(facts: SeriesFacts, modality: str, region: Region, preference: SeriesPreference) -> LeftOut | None:
    if facts.modality != modality:
        return LeftOut.OTHER_MODALITY
    words = words_of(facts.description)
    if words & _LOCALIZER_WORDS or _LOCALIZER_TYPES & set(facts.image_type):
        return LeftOut.LOCALIZER
    if _is_page(words) or "SCREEN SAVE" in facts.image_type:
        return LeftOut.NOT_AN_IMAGE_SERIES
    if region_of(facts) not in {region, Region.UNKNOWN}:
        return LeftOut.OTHER_BODY_PART
    if facts.plane is Plane.UNKNOWN:
        return LeftOut.NO_GEOMETRY
    return LeftOut.TOO_FEW_SLICES if facts.slice_count < preference.min_slices else None


def _ct_reason(facts: SeriesFacts, preference: SeriesPreference) -> LeftOut | None:
    if why := _common_reason(facts, "CT", Region.CHEST, preference):
        return why
    if facts.plane is not Plane.AXIAL:
        return LeftOut.NOT_AXIAL
    return LeftOut.DERIVED if _is_rendering(facts) else None


def _mr_reason(facts: SeriesFacts, preference: SeriesPreference) -> LeftOut | None:
    if why := _common_reason(facts, "MR", Region.BRAIN, preference):
        return why
    if sequence_of(facts) in _MAPS:
        return LeftOut.MAP
    return LeftOut.DERIVED if _is_rendering(facts) else None


def _is_page(words: frozenset[str]) -> bool:
    return bool(words & _PAGE_WORDS) or any(words & first and words & second for first, second in _PAGE_PHRASES)


def _is_rendering(facts: SeriesFacts) -> bool:
    words = words_of(facts.description)
    types = set(facts.image_type)
    return bool(words & _RENDERINGS or types & _RENDERING_TYPES or "SECONDARY" in types)


def _ct_key(facts: SeriesFacts, preference: SeriesPreference) -> tuple[float, ...]:
    """Sort key: smaller suits the model better."""
    return (
        "DERIVED" in facts.image_type,
        (Kernel.SOFT, Kernel.UNKNOWN, Kernel.SHARP).index(kernel_of(facts)),
        _thickness_penalty(facts, preference),
        _rank(phase_of(facts), preference.phases),
        region_of(facts) is not Region.CHEST,
        -round(facts.extent_mm or 0),
        -facts.slice_count,
        facts.series_number if facts.series_number is not None else 1e9,
    )


def _mr_key(facts: SeriesFacts, preference: SeriesPreference) -> tuple[float, ...]:
    """Sort key: smaller suits the model better."""
    return (
        "DERIVED" in facts.image_type,
        facts.plane is not Plane.AXIAL,
        _rank(sequence_of(facts), preference.sequences),
        region_of(facts) is not Region.BRAIN,
        -round(facts.extent_mm or 0),
        -facts.slice_count,
        facts.series_number if facts.series_number is not None else 1e9,
    )


def _rank(value: Phase | Sequence, preferred: tuple[Phase, ...] | tuple[Sequence, ...]) -> int:
    return preferred.index(value) if value in preferred else len(preferred)


def _thickness_penalty(facts: SeriesFacts, preference: SeriesPreference) -> float:
    """How many times thinner or thicker than preferred, in steps of a half; unknown counts as twice."""
    thickness_mm = facts.thickness_mm or facts.slice_spacing_mm
    if not thickness_mm or thickness_mm <= 0:
        return 2.0
    thinnest_mm, thickest_mm = preference.thickness_mm
    factor = max(thinnest_mm / thickness_mm, thickness_mm / thickest_mm, 1.0)
    return round(2 * (factor - 1)) / 2
