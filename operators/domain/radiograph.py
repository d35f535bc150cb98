"""What a radiograph's header says of itself: an InstanceHeader enters, its projection and body region leave.

Any statement that the image is not a frontal view wins over statements that it is one: taking a lateral view for a
frontal one makes wrong findings, leaving a frontal view out only parks a study.
"""

import re
import unicodedata
from enum import StrEnum
from itertools import pairwise

from operators.domain.messages import InstanceHeader


class Projection(StrEnum):
    """How the beam passed the patient. FRONTAL: PA or AP, the header does not say which."""

    PA = "pa"
    AP = "ap"
    FRONTAL = "frontal"
    NOT_FRONTAL = "not-frontal"
    UNKNOWN = "unknown"


class BodyRegion(StrEnum):
    """What part of the body the image shows, as far as the model cares."""

    CHEST = "chest"
    OTHER = "other"
    UNKNOWN = "unknown"


# View Position (0018,5101): defined terms of PS3.3 C.8.1.2 and C.8.11.5, and words met in the field.
_PA = frozenset({"PA", "POSTEROANTERIOR", "POSTERIORANTERIOR", "POSTERIOANTERIOR"})
_AP = frozenset({"AP", "ANTEROPOSTERIOR", "ANTERIORPOSTERIOR", "ANTERIOPOSTERIOR"})
_FRONTAL = frozenset({"FRONTAL", "FACE"})
_NOT_FRONTAL = frozenset(
    {
        *{"LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT", "LATL", "LATR", "SEITLICH", "PROFIL", "PROFILE", "LATERALIS"},
        *{"LLD", "RLD", "DECUB", "DECUBITUS"},
        *{"RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "OBL", "OBLIQUE"},
        *{"AXIAL", "LORDOTIC", "SWIMMERS", "TANGENTIAL", "INLET", "OUTLET"},
    }
)
_CHEST_STEMS = (
    *("CHEST", "CXR", "THORAX", "THORAC", "TORAX", "TORACE", "LUNG", "PULMO", "POUMON", "POLMON", "HRUDNIK"),
    *("ΘΩΡΑΚ", "ГРУДН", "胸"),
)
"""Beginnings of words, in capitals and without accents."""
_OTHER_PARTS = frozenset(
    {
        *{
            "CHESTABDOMEN",
            "CHESTABDPELVIS",
            "ABDOMEN",
            "PELVIS",
            "KUB",
            "BOWEL",
            "COLON",
            "ESOPHAGUS",
            "OESOPHAGUS",
            "BECKEN",
            "BREAST",
            "MAMMA",
        },
        *{"HEAD", "SKULL", "SINUS", "SINUSES", "ORBIT", "MANDIBLE", "JAW", "TEETH", "NECK", "SCHAEDEL", "SCHADEL"},
        *{"SPINE", "CSPINE", "TSPINE", "LSPINE", "SSPINE", "CTSPINE", "TLSPINE", "LSSPINE", "CERVICAL", "LUMBAR"},
        *{"SACRUM", "COCCYX", "WIRBELSAEULE", "WIRBELSAULE", "RACHIS", "HWS", "BWS", "LWS"},
        *{"RIB", "RIBS", "STERNUM", "CLAVICLE", "SCAPULA", "SHOULDER", "SCHULTER", "HUMERUS", "ELBOW", "ELLENBOGEN"},
        *{"FOREARM", "WRIST", "HANDGELENK", "HAND", "FINGER", "THUMB", "EXTREMITY"},
        *{"HIP", "HUEFTE", "HUFTE", "FEMUR", "THIGH", "KNEE", "KNIE", "PATELLA", "LEG", "TIBIA", "FIBULA"},
        *{"ANKLE", "FOOT", "FUSS", "TOE", "TOES", "CALCANEUS", "HEEL"},
    }
)
_SAYS_NOTHING = frozenset({"UNKNOWN", "OTHER", "DEFAULT", "NONE", "NA", "UNSPECIFIED", "UNDEFINED", "ANY"})
_LETTER_DOTS = re.compile(r"\b(\w)\.(\w)\b\.?")
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> frozenset[str]:
    """Words of a header text, in capitals and without accents; "p.a." and "postero-anterior" are one word each."""
    decomposed = unicodedata.normalize("NFKD", text.upper())
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    upper = _LETTER_DOTS.sub(r"\1\2", plain)
    words = _WORD.findall(upper)
    return frozenset(words) | frozenset(first + second for first, second in pairwise(words))


def projection_of(header: InstanceHeader) -> Projection:
    """Judge from View Position, Patient Orientation (PS3.3 C.7.6.1.1.1) and Series Description, in that order."""
    said = (
        _projection_in(header.view_position, is_description=False),
        _projection_by_orientation(header.patient_orientation),
        _projection_in(header.series_description, is_description=True),
    )
    if Projection.NOT_FRONTAL in said:
        return Projection.NOT_FRONTAL
    for projection in said:
        if projection in {Projection.PA, Projection.AP}:
            return projection
    return Projection.FRONTAL if Projection.FRONTAL in said else Projection.UNKNOWN


def _projection_in(text: str, *, is_description: bool) -> Projection:
    words = words_of(text)
    frontal = _frontal_among(words)
    if words & _NOT_FRONTAL:
        # "PA and lateral" describes a series of both: it says nothing of this one image
        is_both = is_description and frontal is not Projection.UNKNOWN
        return Projection.UNKNOWN if is_both else Projection.NOT_FRONTAL
    return frontal


def _frontal_among(words: frozenset[str]) -> Projection:
    is_pa, is_ap = bool(words & _PA), bool(words & _AP)
    if is_pa != is_ap:
        return Projection.PA if is_pa else Projection.AP
    return Projection.FRONTAL if is_pa or words & _FRONTAL else Projection.UNKNOWN


def _projection_by_orientation(patient_orientation: str) -> Projection:
    values = [value.strip().upper() for value in patient_orientation.split("\\")]
    axes = {_AXIS_OF_LETTER.get(value[:1]) for value in values}
    if len(values) != 2 or len(axes) != 2 or None in axes:
        return Projection.UNKNOWN
    return Projection.FRONTAL if axes == {"left-right", "head-feet"} else Projection.NOT_FRONTAL


_AXIS_OF_LETTER = {
    "L": "left-right",
    "R": "left-right",
    "A": "front-back",
    "P": "front-back",
    "H": "head-feet",
    "F": "head-feet",
}


def is_mirrored(header: InstanceHeader) -> bool:
    r"""Whether Patient Orientation says that the image is not shown as L\F (patient's left on the right, feet down)."""
    values = [value.strip().upper()[:1] for value in header.patient_orientation.split("\\")]
    return _projection_by_orientation(header.patient_orientation) is Projection.FRONTAL and values != ["L", "F"]


def body_region_of(header: InstanceHeader, study_description: str = "") -> BodyRegion:
    """Judge from Body Part Examined; where it is empty, from the descriptions of series and study.

    A body part in words not known here is OTHER unless the series is described as a chest: it was stated, and it is
    not the chest as far as anybody can tell. One that names more than the chest is OTHER too.
    """
    stated = words_of(header.body_part) - _SAYS_NOTHING
    described = _region_described(words_of(header.series_description))
    if stated:
        if stated & _OTHER_PARTS:
            return BodyRegion.OTHER
        is_chest = _names_chest(stated) or described is BodyRegion.CHEST
        return BodyRegion.CHEST if is_chest else BodyRegion.OTHER
    if described is not BodyRegion.UNKNOWN:
        return described
    return _region_described(words_of(study_description))


def _region_described(words: frozenset[str]) -> BodyRegion:
    """Judge a description, which may speak of several images: one of chest and abdomen says nothing of this image."""
    is_chest, is_other = _names_chest(words), bool(words & _OTHER_PARTS)
    if is_chest == is_other:
        return BodyRegion.UNKNOWN
    return BodyRegion.CHEST if is_chest else BodyRegion.OTHER


def _names_chest(words: frozenset[str]) -> bool:
    return any(word.startswith(_CHEST_STEMS) for word in words)
