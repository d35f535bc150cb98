"""What is accepted: an association request or an object's facts enter, the answer leaves."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from pydicom.uid import UID, ParametricMapStorage, RTDoseStorage, SegmentationStorage

from operators.domain.messages import InstanceHeader
from operators.receive.config import ANY_AE, ReceiveConfig

_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")


class StoreStatus(IntEnum):
    """Answers to a C-STORE request (PS3.4 B.2.3, PS3.7 C). Only SUCCESS says that the object is safe here."""

    SUCCESS = 0x0000
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    TRUNCATED = 0xC001
    NO_IDENTIFIERS = 0xC002
    NODE_DEFECT = 0xC003


COMMENTS: dict[StoreStatus, str] = {
    StoreStatus.OUT_OF_RESOURCES: "Out of resources, send again later",
    StoreStatus.DOES_NOT_MATCH: "Object is not the one announced",
    StoreStatus.CANNOT_UNDERSTAND: "Object cannot be read",
    StoreStatus.TRUNCATED: "Object ends before its data do",
    StoreStatus.NO_IDENTIFIERS: "Study, Series or SOP Instance UID invalid",
    StoreStatus.NODE_DEFECT: "Internal error of the node",
}
"""Error Comment (0000,0902) that goes with a failure, at most 64 characters."""


class RefusalReason(StrEnum):
    """Why an association was refused; the values of the column `refusals.reason`."""

    CALLING_AE = "calling-ae-unknown"
    CALLED_AE = "called-ae-unknown"
    TOO_MANY = "too-many-associations"
    TLS = "tls-handshake-failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """An A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    reason: RefusalReason
    result: int
    source: int
    diagnostic: int


def judge_association(calling_ae: str, called_ae: str, others: int, config: ReceiveConfig) -> Rejection | None:
    """Return how an association is rejected, or None for one that is welcome. `others` are open beside it."""
    if config.called_ae_titles != (ANY_AE,) and not _names(called_ae, (config.ae_title, *config.called_ae_titles)):
        return Rejection(reason=RefusalReason.CALLED_AE, result=1, source=1, diagnostic=7)
    if config.calling_ae_titles and not _names(calling_ae, config.calling_ae_titles):
        return Rejection(reason=RefusalReason.CALLING_AE, result=1, source=1, diagnostic=3)
    if others >= config.maximum_associations:
        return Rejection(reason=RefusalReason.TOO_MANY, result=2, source=3, diagnostic=2)
    return None


def _names(ae_title: str, titles: Collection[str]) -> bool:
    """Whether the title is among the titles; leading and trailing spaces mean nothing (PS3.5 6.2, VR AE)."""
    return ae_title.strip() in {title.strip() for title in titles}


# Objects with pixels that are findings about a study, not images of a patient: they must not bring about a new draft.
_FINDING_CLASSES = frozenset({SegmentationStorage, ParametricMapStorage, RTDoseStorage})
_FINDING_MODALITIES = frozenset({"SEG", "RTDOSE"})


def opens_study(header: InstanceHeader, *, has_pixels: bool) -> bool:
    """Whether an object is an image that opens or extends a revision of its study."""
    is_finding = UID(header.sop_class_uid) in _FINDING_CLASSES or header.modality in _FINDING_MODALITIES
    return has_pixels and not is_finding


def has_identifiers(header: InstanceHeader) -> bool:
    """Whether study, series and object are named by UIDs (PS3.5 9.1); leading zeros of a part are let pass."""
    uids = (header.study_uid, header.series_uid, header.instance_uid, header.sop_class_uid)
    return all(_UID.fullmatch(uid) for uid in uids)
