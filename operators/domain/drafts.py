"""The frozen messages on the last edges, report -> deliver and notify: documents, drafts and what is to be sent."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from operators.domain.ids import Destination, InstanceUid, Revision, StudyUid
from operators.domain.messages import ComparedCase


class DocumentKind(StrEnum):
    """What a rendered document is."""

    SR = "sr"
    TEXT = "text"
    PDF = "pdf"
    ORU = "oru"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Bytes rendered once. `identity` is the SOP Instance UID (SR, TEXT, PDF: DICOM Part 10 files) or MSH-10 (ORU)."""

    kind: DocumentKind
    identity: str
    sop_class_uid: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftReport:
    """A draft: its comparison, its documents, and the digest that all its identities derive from.

    `predecessor_sr_uid` is the SR of the previous revision's draft, if there was one. `rendered_at` is the moment of
    the first rendering. `preview_pdf` is the readable PDF itself (the PDF document wraps it in DICOM).
    """

    study_uid: StudyUid
    revision: Revision
    identity_digest: str
    compared: ComparedCase
    documents: tuple[Document, ...]
    rendered_at: datetime
    preview_pdf: bytes = field(repr=False)
    predecessor_sr_uid: InstanceUid | None = None

    def document(self, kind: DocumentKind) -> Document:
        """Return the document of that kind. Raises KeyError when the draft has none."""
        for document in self.documents:
            if document.kind is kind:
                return document
        raise KeyError(kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """One document that has to reach one destination, once."""

    study_uid: StudyUid
    revision: Revision
    destination: Destination
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatches:
    """What deliver or notify wants sent for a draft; () in shadow mode."""

    draft: DraftReport
    entries: tuple[OutboxEntry, ...]


class Sender(Protocol):
    """Carries a document to one destination. Sending the same document twice must be harmless there."""

    def send(self, document: Document) -> None:
        """Return once the peer has taken responsibility.

        Raises TransientError (away, busy: again later) or PermanentError (refused for what it is: an admin must look).
        """
        ...
