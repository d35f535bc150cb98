"""Free text of a series' headers enters; the anatomy, phase, kernel and sequence that it names leave."""

import re
from enum import StrEnum

from models.shared.volumes.facts import SeriesFacts


class Kernel(StrEnum):
    """How sharp a CT reconstruction is."""

    SOFT = "soft"
    UNKNOWN = "unknown"
    SHARP = "sharp"


class Phase(StrEnum):
    """Contrast phase of a CT series."""

    NATIVE = "native"
    ARTERIAL = "arterial"
    PORTAL_VENOUS = "portal-venous"
    DELAYED = "delayed"
    CONTRAST = "contrast"
    UNKNOWN = "unknown"


class Sequence(StrEnum):
    """Weighting of an MR series."""

    T1 = "t1"
    T1_CONTRAST = "t1-contrast"
    T2 = "t2"
    FLAIR = "flair"
    SUSCEPTIBILITY = "susceptibility"
    PROTON_DENSITY = "proton-density"
    DIFFUSION = "diffusion"
    ADC = "adc"
    PERFUSION = "perfusion"
    ANGIOGRAPHY = "angiography"
    UNKNOWN = "unknown"


class Region(StrEnum):
    """What part of the body a series says it shows."""

    CHEST = "chest"
    BRAIN = "brain"
    OTHER = "other"
    UNKNOWN = "unknown"


_CHEST = frozenset({"CHEST", "THORAX", "THORACIC", "LUNG", "LUNGS", "PULMONARY", "THORAKS", "TORAX", "HRCT", "CTPA"})
_BRAIN = frozenset(
    {"BRAIN", "HEAD", "NEURO", "CEREBRUM", "CEREBRAL", "SKULL", "CRANIUM", "CRANIAL", "SCHAEDEL", "KOPF"}
)
_ELSEWHERE = frozenset(
    {"ABDOMEN", "ABDOMINAL", "PELVIS", "LIVER", "KIDNEY", "SPINE", "CSPINE", "TSPINE", "LSPINE", "NECK", "KNEE", "HIP"}
) | frozenset(
    {"SHOULDER", "ANKLE", "FOOT", "WRIST", "HAND", "ELBOW", "PROSTATE", "BREAST", "HEART", "EXTREMITY", "LEG"}
)

_NATIVE = frozenset({"NATIVE", "NATIV", "PLAIN", "NONCONTRAST", "UNENHANCED", "NC", "NECT", "WITHOUT"})
_PHASES: tuple[tuple[Phase, frozenset[str]], ...] = (
    (Phase.ARTERIAL, frozenset({"ARTERIAL", "ART", "ARTERIELL", "ANGIO", "CTA", "CTPA"})),
    (Phase.DELAYED, frozenset({"DELAYED", "DELAY", "LATE", "EQUILIBRIUM"})),
    (Phase.PORTAL_VENOUS, frozenset({"PORTAL", "VENOUS", "VEN", "PV", "PORTOVENOUS", "VENOES"})),
    (Phase.CONTRAST, frozenset({"CE", "CECT", "CONTRAST", "POST", "ENHANCED", "KM", "GAD", "GD"})),
)
_SHARP = frozenset({"LUNG", "BONE", "BONEPLUS", "BONE+", "EDGE", "SHARP", "ULTRA", "YC", "YD", "D", "E", "L", "HR"})
_SOFT = frozenset({"STANDARD", "STND", "SOFT", "MEDIASTINUM", "BODY", "DETAIL", "A", "B", "C", "CB", "YA", "YB"})
_SIEMENS = re.compile(r"^(?:[A-Z]{1,2})(\d{2})[A-Z]?(?:[\\_ ]\d)?$")
_CANON = re.compile(r"^FC(\d{2})$")

_SEQUENCES: tuple[tuple[Sequence, frozenset[str]], ...] = (
    (Sequence.ADC, frozenset({"ADC", "EADC", "APPARENT"})),
    (Sequence.DIFFUSION, frozenset({"DWI", "DIFF", "DIFFUSION", "DTI", "TRACEW", "TRACE", "B1000", "FA"})),
    (Sequence.PERFUSION, frozenset({"PERF", "PERFUSION", "DSC", "DCE", "ASL", "CBF", "CBV", "MTT", "BOLD", "FMRI"})),
    (Sequence.ANGIOGRAPHY, frozenset({"TOF", "MRA", "ANGIO", "ANGIOGRAPHY", "MRV", "VENOGRAPHY"})),
    (Sequence.SUSCEPTIBILITY, frozenset({"SWI", "SWAN", "HEMO", "T2STAR", "T2GRE", "SUSCEPTIBILITY", "VENBOLD"})),
    (Sequence.FLAIR, frozenset({"FLAIR", "DARKFLUID", "TIRM"})),
    (Sequence.T1, frozenset({"T1", "T1W", "MPRAGE", "BRAVO", "SPGR", "T1TFE", "VIBE", "FSPGR"})),
    (Sequence.T2, frozenset({"T2", "T2W", "T2TSE", "T2FSE"})),
    (Sequence.PROTON_DENSITY, frozenset({"PD", "PDW", "PROTON"})),
)
_CONTRAST_WORDS = frozenset(
    {"GD", "GAD", "GADO", "POST", "CE", "KM", "CONTRAST", "ENHANCED", "C+", "+C", "T1C", "T1CE"}
)
# Body Part Examined runs parts together (CHESTABDPELVIS, NECKCHEST, HEADNECK: PS3.16 Annex L)
_CHEST_PART, _BRAIN_PART = re.compile("CHEST|THORA|LUNG"), re.compile("BRAIN|HEAD|SKULL")
_PREFIXED = re.compile(r"\b[ES](?=[TP][12D]W)")  # Philips: eT1W, sT2W


def words_of(*texts: str) -> frozenset[str]:
    """Words of some texts: upper case, split at everything but letters, digits and +; T2* becomes T2STAR."""
    joined = " ".join(texts).upper().replace("T2*", "T2STAR ").replace("DARK-FLUID", "DARKFLUID")
    joined = _PREFIXED.sub("", joined)
    joined = joined.replace("NON-CONTRAST", "NONCONTRAST").replace("NON CONTRAST", "NONCONTRAST")
    joined = joined.replace("C-SPINE", "CSPINE").replace("T-SPINE", "TSPINE").replace("L-SPINE", "LSPINE")
    return frozenset(re.findall(r"[A-Z0-9+]+", joined))


def region_of(facts: SeriesFacts) -> Region:
    """Part of the body. The series speaks before the study; a series that names several parts shows each of them.

    Body Part Examined is one word for a whole examination and often the protocol's default: a description that names
    the chest or the brain is believed before it.
    """
    own = _region_in(words_of(facts.description, facts.protocol))
    if own is not Region.UNKNOWN:
        return own
    part = facts.body_part.upper()
    if _CHEST_PART.search(part):
        return Region.CHEST
    if _BRAIN_PART.search(part):
        return Region.BRAIN
    examined = _region_in(words_of(part))
    return examined if examined is not Region.UNKNOWN else _region_in(words_of(facts.study_description))


def _region_in(words: frozenset[str]) -> Region:
    """Part of the body that some words name. The chest and the brain win over what is shown beside them."""
    if words & _CHEST:
        return Region.CHEST
    if words & _BRAIN:
        return Region.BRAIN
    return Region.OTHER if words & _ELSEWHERE else Region.UNKNOWN


def kernel_of(facts: SeriesFacts) -> Kernel:
    """Tell how sharp a reconstruction is by its kernel's name (GE, Siemens, Philips, Canon) or by the description."""
    name = facts.kernel.strip().upper().split("\\")[0]
    if match := _SIEMENS.match(name):
        if canon := _CANON.match(name):
            return Kernel.SOFT if int(canon[1]) < 30 else Kernel.SHARP  # FC01-19 body, 30 bone, 50-59 lung, 80-90 HR
        return Kernel.SOFT if int(match[1]) < 50 else Kernel.SHARP  # B30f, I40f, Br44 | B60f, I70f, Bl57
    for words in (words_of(name), words_of(facts.description) - {"BODY", "A", "B", "C", "D", "E", "L"}):
        if words & _SHARP:
            return Kernel.SHARP
        if words & _SOFT:
            return Kernel.SOFT
    return Kernel.UNKNOWN


def phase_of(facts: SeriesFacts) -> Phase:
    """Contrast phase by the words of description and protocol, else by whether an agent was given."""
    words = words_of(facts.description, facts.protocol)
    if words & _NATIVE:
        return Phase.NATIVE
    for phase, names in _PHASES:
        if words & names:
            return phase
    return Phase.CONTRAST if facts.contrast_agent else Phase.UNKNOWN


def sequence_of(facts: SeriesFacts) -> Sequence:
    """Weighting of an MR series by the words of its headers, else by its timing."""
    words = words_of(facts.description, facts.protocol, facts.sequence_name, " ".join(facts.image_type))
    found = next((sequence for sequence, names in _SEQUENCES if words & names), None)
    if found is None:
        found = _by_timing(facts)
    if found is Sequence.T1 and (words & _CONTRAST_WORDS or facts.contrast_agent):
        return Sequence.T1_CONTRAST
    return found


def _by_timing(facts: SeriesFacts) -> Sequence:
    if facts.b_value:
        return Sequence.DIFFUSION
    if facts.echo_ms is None or facts.repetition_ms is None:
        return Sequence.UNKNOWN
    if facts.echo_ms > 60 and facts.repetition_ms > 1500:
        return Sequence.FLAIR if (facts.inversion_ms or 0) > 1500 else Sequence.T2
    if facts.echo_ms < 30 and facts.repetition_ms < 1000:
        return Sequence.T1
    return Sequence.PROTON_DENSITY if facts.echo_ms < 40 and facts.repetition_ms > 1500 else Sequence.UNKNOWN
