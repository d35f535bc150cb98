"""The structured report: content and envelope enter, a Comprehensive 3D SR by TID 1500 leaves.

The document lands in the current study; the prior's image is pertinent other evidence. It is PARTIAL, UNVERIFIED and
PRELIMINARY whatever it says: a draft is never dressed as a report.
"""

from collections.abc import Iterator

import highdicom.sr as hd
from highdicom.sr import RelationshipTypeValues as Relationship
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from models.shared.codes import LOCAL_SCHEME, presence_code
from operators.domain.drafts import DocumentKind
from operators.domain.errors import PermanentError
from operators.domain.ids import InstanceUid
from operators.domain.messages import EntityFinding, InstanceHeader
from operators.domain.reasons import ReasonCode
from operators.report import tree
from operators.report.content import FindingGroup, NarrativeSentence, ReportContent
from operators.report.envelope import DocumentSeries, Envelope, file_meta, seal
from operators.report.groups import finding_group, unassessed_group
from operators.report.library import image_library
from operators.report.node import MANUFACTURER
from operators.report.observer import device_observer
from operators.report.predecessor import SrReference
from operators.report.procedure import procedure_reported
from operators.report.request import referenced_requests

_LOCAL_SCHEME_NAME = "Interval local codes"


def sr_series(envelope: Envelope, series_number: int) -> DocumentSeries:
    """Return where the structured report stands in the current study."""
    revision = envelope.comparison.current.revision
    return DocumentSeries(
        sop_class_uid=Comprehensive3DSRStorage,
        instance_uid=envelope.identity.instance_uid(DocumentKind.SR),
        series_uid=envelope.identity.series_uid(DocumentKind.SR),
        series_number=series_number,
        modality="SR",
        description=f"Interval draft comparison (not verified), revision {revision}",
    )


def build_sr(
    content: ReportContent, envelope: Envelope, series: DocumentSeries, predecessor: SrReference | None
) -> Dataset:
    """Return the structured report as a dataset with file meta information.

    Raises PermanentError(REPORT_INVALID) when what comes out is not of the current study.
    """
    document: Dataset = hd.Comprehensive3DSR(
        evidence=list(_evidence(content)),
        content=_root(content, envelope),
        series_instance_uid=series.series_uid,
        series_number=series.series_number,
        sop_instance_uid=series.instance_uid,
        instance_number=int(envelope.comparison.current.revision),
        manufacturer=MANUFACTURER,
        previous_versions=[_referenced(predecessor)] if predecessor else None,
        requested_procedures=referenced_requests(envelope) or None,
        specific_character_set="ISO_IR 192",
    )
    document.file_meta = file_meta(series)
    seal(document, envelope, series)
    document.CodingSchemeIdentificationSequence = [_local_scheme()]
    _check(document, envelope)
    return document


def _check(document: Dataset, envelope: Envelope) -> None:
    current = envelope.comparison.current
    if document.StudyInstanceUID != current.study_uid or document.AccessionNumber != current.accession_number:
        raise PermanentError(ReasonCode.REPORT_INVALID, why="the report is not of the current study")


def _root(content: ReportContent, envelope: Envelope) -> hd.ContainerContentItem:
    """TID 1500: language, observer, procedure, image library, measurements; then ours: comparison and narrative."""
    comparison = content.comparison
    report = hd.MeasurementReport(
        observation_context=device_observer(envelope),
        procedure_reported=tree.concept(procedure_reported(comparison.current_image.header.modality)),
        imaging_measurements=_measurements(content),
        title=tree.concept("imaging_measurement_report"),
        language_of_content_item_and_descendants=hd.LanguageOfContentItemAndDescendants(
            tree.concept("language_english")
        ),
    )
    root = report[0]
    items = list(root.ContentSequence)
    root.ContentSequence = hd.ContentSequence(
        [*items[:-1], image_library(envelope), items[-1], _comparison_done(content), *_narrative(content)]
    )
    return root


def _measurements(content: ReportContent) -> list[hd.PlanarROIMeasurementsAndQualitativeEvaluations]:
    if content.unassessed is not None:
        return [unassessed_group(content.unassessed, content.comparison)]
    return [finding_group(group, content.comparison) for group in content.groups]


def _comparison_done(content: ReportContent) -> hd.CodeContentItem:
    """Say whether a prior was compared with, which one, or why none was."""
    prior = content.comparison.prior
    done = tree.coded("comparison_with_prior_done", "yes" if prior is not None else "no")
    children: list[hd.ContentItem] = [
        tree.text("comparison_to_previous_studies", content.comparison_sentence, Relationship.HAS_PROPERTIES)
    ]
    if prior is not None:
        children.append(tree.uid("procedure_study_instance_uid", prior.study_uid, Relationship.HAS_PROPERTIES))
    return tree.with_children(done, children)


def _narrative(content: ReportContent) -> Iterator[hd.TextContentItem]:
    """Return the narrative as one text for readers, and under it its sentences on findings with what they rest on."""
    if content.narrative:
        summary = tree.text("narrative_summary", content.narrative_text)
        yield tree.with_children(summary, [_sentence(s) for s in content.narrative if s.groups or s.silent])


def _sentence(sentence: NarrativeSentence) -> hd.TextContentItem:
    """Tie a sentence to its findings: to groups by tracking UID, to what was seen nowhere by code."""
    item = tree.text("conclusion", sentence.text, Relationship.INFERRED_FROM)
    tracked = [
        tree.uid("tracking_unique_identifier", group.tracking_uid, Relationship.INFERRED_FROM)
        for group in sentence.groups
    ]
    return tree.with_children(item, [*tracked, *(_absence(finding) for finding in sentence.silent)])


def _absence(finding: EntityFinding) -> hd.CodeContentItem:
    item = tree.coded("finding", finding.entity.finding_code, Relationship.INFERRED_FROM)
    return tree.with_children(
        item,
        [
            tree.coded("presence_of_property", presence_code(finding.current).name, Relationship.HAS_PROPERTIES),
            tree.percentage("probability", finding.stated_prob, Relationship.HAS_PROPERTIES),
        ],
    )


def _evidence(content: ReportContent) -> Iterator[Dataset]:
    """All images of the current study, the one that was read first; then the prior's that are referred to."""
    comparison = content.comparison
    yield _evidence_item(comparison.current_image.header)
    for image in comparison.current.images:
        yield _evidence_item(image.header)
    if comparison.prior is not None and comparison.prior_image is not None:
        yield _evidence_item(comparison.prior_image.header)
        shown = {uid for group in content.groups for uid in _prior_uids(group)}
        for image in comparison.prior.images:
            if image.header.instance_uid in shown:
                yield _evidence_item(image.header)


def _prior_uids(group: FindingGroup) -> Iterator[InstanceUid]:
    """Images of the prior that a group's evidence lies on: of a volume not always the slice that stands for it."""
    for region in (group.region if group.is_on_prior else None, group.previous_region):
        if region is not None:
            yield region.instance_uid


def _evidence_item(header: InstanceHeader) -> Dataset:
    """Return what highdicom needs to list an object; patient and study are set by the envelope afterwards."""
    item = Dataset()
    item.SOPClassUID, item.SOPInstanceUID = header.sop_class_uid, header.instance_uid
    item.StudyInstanceUID, item.SeriesInstanceUID = header.study_uid, header.series_uid
    item.PatientID = item.PatientName = item.PatientBirthDate = item.PatientSex = ""
    item.AccessionNumber = item.StudyID = item.StudyDate = item.StudyTime = ""
    return item


def _referenced(predecessor: SrReference) -> Dataset:
    item = Dataset()
    item.SOPClassUID, item.SOPInstanceUID = predecessor.sop_class_uid, predecessor.instance_uid
    item.StudyInstanceUID, item.SeriesInstanceUID = predecessor.study_uid, predecessor.series_uid
    return item


def _local_scheme() -> Dataset:
    """Coding Scheme Identification Sequence item (PS3.3 C.12.1.1.7) of our own codes."""
    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = LOCAL_SCHEME, _LOCAL_SCHEME_NAME
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item
