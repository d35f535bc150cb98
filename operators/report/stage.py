"""The report stage: a ComparedCase enters, a DraftReport with all its rendered documents leaves."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset

from operators.domain.clock import Clock
from operators.domain.drafts import Document, DocumentKind, DraftReport
from operators.domain.errors import PermanentError
from operators.domain.ids import InstanceUid, SeriesUid
from operators.domain.messages import ComparedCase, Comparison
from operators.domain.reasons import ReasonCode
from operators.report.config import CompanionForm, ReportConfig
from operators.report.content import ReportContent, report_content
from operators.report.encapsulate import basic_text, companion_series, encapsulate_pdf
from operators.report.envelope import DocumentSeries, Envelope, as_file
from operators.report.identity import DraftIdentity, identity_digest
from operators.report.node import NodeIdentity
from operators.report.pdf import render_pdf
from operators.report.predecessor import Predecessors, SrReference
from operators.report.source import read_source
from operators.report.sr import build_sr, sr_series


class ReportStage:
    """Renders a comparison once: structured report, readable companion, and the PDF for the page."""

    def __init__(self, config: ReportConfig, *, node: NodeIdentity, clock: Clock, predecessors: Predecessors) -> None:
        self._config = config
        self._node = node
        self._clock = clock
        self._predecessors = predecessors

    def __call__(self, compared: ComparedCase) -> DraftReport:
        """Render the draft.

        Raises
        ------
        TransientError
            DATABASE_AWAY: whether there is an earlier draft could not be asked.
        PermanentError
            SPOOL_FILE_MISSING, DECODE_FAILED: an image's file cannot be read any more; REPORT_INVALID: the draft
            cannot be written as a valid document.
        """
        comparison = compared.comparison
        current = comparison.current
        predecessor = self._predecessors.predecessor_of(current.study_uid, current.revision)
        envelope = self._envelope(comparison)
        content = report_content(comparison, self._node, envelope.identity)
        with _refused_values():
            pdf = render_pdf(content, envelope, self._config.page_size)
            documents = tuple(self._documents(content, envelope, pdf, predecessor))
        return DraftReport(
            study_uid=current.study_uid,
            revision=current.revision,
            identity_digest=envelope.identity.digest,
            compared=compared,
            documents=documents,
            rendered_at=envelope.rendered_at,
            preview_pdf=pdf,
            predecessor_sr_uid=predecessor.instance_uid if predecessor else None,
        )

    def _envelope(self, comparison: Comparison) -> Envelope:
        digest = identity_digest(self._node, comparison, self._config.configuration_digest)
        prior_image = comparison.prior_image
        return Envelope(
            comparison=comparison,
            node=self._node,
            identity=DraftIdentity(uid_root=self._node.uid_root, digest=digest),
            rendered_at=self._clock.now(),
            current_source=read_source(comparison.current_image),
            prior_source=read_source(prior_image) if prior_image is not None else None,
        )

    def _documents(
        self, content: ReportContent, envelope: Envelope, pdf: bytes, predecessor: SrReference | None
    ) -> list[Document]:
        series = sr_series(envelope, self._config.sr_series_number)
        sr = _document(DocumentKind.SR, build_sr(content, envelope, series, predecessor))
        reference = _reference(envelope, series)
        number = self._config.companion_series_number
        match self._config.companion:
            case CompanionForm.PDF:
                place = companion_series(envelope, number, DocumentKind.PDF)
                return [sr, _document(DocumentKind.PDF, encapsulate_pdf(pdf, envelope, place, reference))]
            case CompanionForm.BASIC_TEXT_SR:
                place = companion_series(envelope, number, DocumentKind.TEXT)
                return [sr, _document(DocumentKind.TEXT, basic_text(content, envelope, place, reference))]
            case CompanionForm.NONE:
                return [sr]


def _document(kind: DocumentKind, ds: Dataset) -> Document:
    return Document(kind=kind, identity=ds.SOPInstanceUID, sop_class_uid=ds.SOPClassUID, content=as_file(ds))


@contextmanager
def _refused_values() -> Iterator[None]:
    """Turn what the DICOM libraries say of an impossible value, or of an unknown code, into REPORT_INVALID."""
    try:
        yield
    except (ValueError, LookupError, OverflowError) as exc:
        raise PermanentError(ReasonCode.REPORT_INVALID, kind=type(exc).__name__) from exc


def _reference(envelope: Envelope, series: DocumentSeries) -> SrReference:
    return SrReference(
        study_uid=envelope.comparison.current.study_uid,
        series_uid=SeriesUid(series.series_uid),
        instance_uid=InstanceUid(series.instance_uid),
        sop_class_uid=series.sop_class_uid,
    )
