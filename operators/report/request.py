"""The request that the current study answers: what its image carries of it enters, Referenced Request items leave."""

from typing import Any

from pydicom.dataset import Dataset

from operators.report.envelope import Envelope
from operators.report.source import put

# PS3.3 C.17.2, Referenced Request Sequence: type 2 attributes of an item that Request Attributes (10.6) may know.
_KNOWN_TO_IMAGES = ("RequestedProcedureID", "RequestedProcedureDescription")
_EMPTY_TEXTS = ("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest")


def referenced_requests(envelope: Envelope) -> list[Dataset]:
    """Return the items of Referenced Request Sequence; none where the study belongs to no request."""
    asked = list(envelope.current_source.get("RequestAttributesSequence") or [])
    study = envelope.comparison.current
    if not asked and not study.accession_number:
        return []
    return [_item(envelope, request) for request in asked or [Dataset()]]


def _item(envelope: Envelope, request: Dataset) -> Dataset:
    study = envelope.comparison.current
    item = Dataset()
    item.StudyInstanceUID = study.study_uid
    item.ReferencedStudySequence = _kept(request, "ReferencedStudySequence")
    put(item, "AccessionNumber", study.accession_number)
    for keyword in _EMPTY_TEXTS:
        put(item, keyword, "")
    for keyword in _KNOWN_TO_IMAGES:
        put(item, keyword, request.get(keyword) or "")
    item.RequestedProcedureCodeSequence = _kept(request, "RequestedProcedureCodeSequence")
    return item


def _kept(request: Dataset, keyword: str) -> list[Any]:
    return list(request.get(keyword) or [])
