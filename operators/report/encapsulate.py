"""Companions as DICOM objects: a PDF or the content enters, an Encapsulated PDF or a Basic Text SR leaves.

Both name the structured report that they render, and both land in the current study.
"""

from collections.abc import Iterator

import highdicom.sr as hd
from highdicom.sr import RelationshipTypeValues as Relationship
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, EncapsulatedPDFStorage

from models.shared.codes import code
from operators.domain.drafts import DocumentKind
from operators.domain.messages import Comparison, Image
from operators.report import tree
from operators.report.content import ReportContent
from operators.report.envelope import DocumentSeries, Envelope, code_item, new_document
from operators.report.groups import describe_change
from operators.report.observer import device_observer
from operators.report.predecessor import SrReference
from operators.report.request import referenced_requests

DOCUMENT_TITLE = "Draft comparison, not verified"


def companion_series(envelope: Envelope, series_number: int, kind: DocumentKind) -> DocumentSeries:
    """Return where the companion of that kind, PDF or TEXT, stands in the current study."""
    revision = envelope.comparison.current.revision
    return DocumentSeries(
        sop_class_uid=EncapsulatedPDFStorage if kind is DocumentKind.PDF else BasicTextSRStorage,
        instance_uid=envelope.identity.instance_uid(kind),
        series_uid=envelope.identity.series_uid(kind),
        series_number=series_number,
        modality="DOC" if kind is DocumentKind.PDF else "SR",
        description=f"Interval draft comparison, {kind} (not verified), revision {revision}",
    )


def encapsulate_pdf(pdf: bytes, envelope: Envelope, series: DocumentSeries, sr: SrReference) -> Dataset:
    """Wrap the PDF (PS3.3 A.45.1); Source Instance Sequence (C.24.2) names the SR first, then the images it shows."""
    ds = new_document(envelope, series)
    ds.ConversionType = "WSD"
    ds.BurnedInAnnotation, ds.RecognizableVisualFeatures = "YES", "NO"
    ds.AcquisitionDateTime = ""
    ds.DocumentTitle = DOCUMENT_TITLE
    ds.ConceptNameCodeSequence = [code_item(code("diagnostic_imaging_report"))]
    ds.VerificationFlag = "UNVERIFIED"
    comparison = envelope.comparison
    sources = [(sr.sop_class_uid, sr.instance_uid)]
    sources += [(image.header.sop_class_uid, image.header.instance_uid) for image in _images(comparison)]
    ds.SourceInstanceSequence = [_reference(*source) for source in sources]
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    ds.EncapsulatedDocumentLength = len(pdf)
    return ds


def basic_text(content: ReportContent, envelope: Envelope, series: DocumentSeries, sr: SrReference) -> Dataset:
    """Write the draft as a Basic Text SR (PS3.3 A.35.1): headings and paragraphs, for viewers that know no more."""
    ds = new_document(envelope, series)
    ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "PARTIAL", "UNVERIFIED", "PRELIMINARY"
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = []
    requests = referenced_requests(envelope)
    if requests:
        ds.ReferencedRequestSequence = requests
    comparison = envelope.comparison
    current = [(sr.series_uid, sr.sop_class_uid, sr.instance_uid), *_listed([comparison.current_image])]
    ds.CurrentRequestedProcedureEvidenceSequence = _evidence(comparison.current.study_uid, current)
    if comparison.prior is not None and comparison.prior_image is not None:
        others = _listed([comparison.prior_image])
        ds.PertinentOtherEvidenceSequence = _evidence(comparison.prior.study_uid, others)
    root = tree.root("diagnostic_imaging_report", _text_items(content, envelope, sr))
    ds.ValueType, ds.ContinuityOfContent = root.ValueType, root.ContinuityOfContent
    ds.ConceptNameCodeSequence, ds.ContentSequence = root.ConceptNameCodeSequence, root.ContentSequence
    return ds


def _text_items(content: ReportContent, envelope: Envelope, sr: SrReference) -> Iterator[hd.ContentItem]:
    yield tree.coded("language_of_content", "language_english", Relationship.HAS_CONCEPT_MOD)
    yield from device_observer(envelope)
    told = [tree.text("impression", sentence.text) for sentence in content.narrative]
    yield tree.container("impressions", told or [tree.text("impression", content.comparison_sentence)])
    found = [tree.text("finding", f"{group.number}. {describe_change(group.finding)}") for group in content.groups]
    yield tree.container("findings", [*found, *(_shown(image) for image in _images(content.comparison))])
    yield tree.composite("source_document", sr.instance_uid, sr.sop_class_uid)


def _shown(image: Image) -> hd.ContentItem:
    return tree.image("source_image", image.header.instance_uid, image.header.sop_class_uid, Relationship.CONTAINS)


def _images(comparison: Comparison) -> list[Image]:
    return [image for image in (comparison.current_image, comparison.prior_image) if image is not None]


def _listed(images: list[Image]) -> list[tuple[str, str, str]]:
    return [(image.header.series_uid, image.header.sop_class_uid, image.header.instance_uid) for image in images]


def _evidence(study_uid: str, objects: list[tuple[str, str, str]]) -> list[Dataset]:
    """SOP Instance Reference Macro (PS3.3 10.x) of one study; `objects` are series, SOP class and instance UIDs."""
    study = Dataset()
    study.StudyInstanceUID = study_uid
    study.ReferencedSeriesSequence = []
    for series_uid, sop_class_uid, instance_uid in objects:
        series = Dataset()
        series.SeriesInstanceUID = series_uid
        series.ReferencedSOPSequence = [_reference(sop_class_uid, instance_uid)]
        study.ReferencedSeriesSequence.append(series)
    return [study]


def _reference(sop_class_uid: str, instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, instance_uid
    return item
