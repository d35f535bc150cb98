"""Drafts for tests: a comparison enters, the draft that the report stage renders of it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import FileDataset

from operators.domain.drafts import DocumentKind, DraftReport
from operators.domain.ids import AeTitle, Revision, StudyUid
from operators.domain.messages import Comparison
from operators.report.config import ReportConfig
from operators.report.node import NodeIdentity
from operators.report.predecessor import SrReference
from operators.report.stage import ReportStage
from tests.support.comparisons import compared_case

RENDERED_AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
NODE = NodeIdentity(
    uid_root="2.25",
    ae_title=AeTitle("INTERVAL"),
    device_serial_number="node-1",
    institution="Klinikum Süd",
    station_name="INTERVAL-1",
    software_version="0.1.0",
    timezone="Europe/Athens",
)
CONFIG = ReportConfig(configuration_digest="settings")


@dataclass
class SetClock:
    """A clock that stands where it was put; `pass_s` moves it."""

    at: datetime = RENDERED_AT
    passed_s: float = 0.0

    def now(self) -> datetime:
        """Return the moment it stands at."""
        return self.at + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        """Return the seconds it was moved."""
        return self.passed_s

    def pass_s(self, seconds: float) -> None:
        """Move it."""
        self.passed_s += seconds


@dataclass(frozen=True)
class KnownPredecessors:
    """Predecessors that are told beforehand."""

    known: Mapping[tuple[StudyUid, Revision], SrReference] = field(default_factory=dict)

    def predecessor_of(self, study_uid: StudyUid, revision: Revision) -> SrReference | None:
        """Return what was told."""
        return self.known.get((study_uid, revision))


def draft_of(
    comparison: Comparison,
    *,
    config: ReportConfig = CONFIG,
    node: NodeIdentity = NODE,
    rendered_at: datetime = RENDERED_AT,
    predecessor: SrReference | None = None,
) -> DraftReport:
    """Render a comparison."""
    of = (comparison.current.study_uid, comparison.current.revision)
    known = KnownPredecessors({of: predecessor} if predecessor else {})
    stage = ReportStage(config, node=node, clock=SetClock(rendered_at), predecessors=known)
    return stage(compared_case(comparison))


def read(draft: DraftReport, kind: DocumentKind = DocumentKind.SR) -> FileDataset:
    """Read a draft's document of that kind."""
    return dcmread(BytesIO(draft.document(kind).content))


def small_draft(study_uid: str = "2.25.1", *, revision: int = 1, content: bytes = b"", of: DraftReport) -> DraftReport:
    """Return a draft like `of` but of another study or revision, its documents named after it, its bytes made up."""
    documents = tuple(
        replace(one, identity=f"{study_uid}.{revision}.{index}", content=content or one.kind.value.encode())
        for index, one in enumerate(of.documents, start=1)
    )
    return replace(
        of, study_uid=StudyUid(study_uid), revision=Revision(revision), documents=documents, preview_pdf=b"%PDF-"
    )
