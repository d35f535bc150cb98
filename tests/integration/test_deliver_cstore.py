"""C-STORE to an archive that answers as it pleases: what is sent, and what every status means."""

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.sop_class import EncapsulatedPDFStorage

from operators.deliver.cstore import CStoreSender
from operators.domain.drafts import DocumentKind, DraftReport
from operators.domain.errors import PermanentError, TransientError
from operators.domain.reasons import ReasonCode
from tests.support.archives import NAME, data_set, dicom_archive, store_to
from tests.support.comparisons import comparison
from tests.support.drafts import draft_of

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> DraftReport:
    return draft_of(comparison(tmp_path_factory.mktemp("films"), PatientName=NAME))


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0x0111])
def test_stored_or_already_there_is_a_success(draft: DraftReport, status: int) -> None:
    with dicom_archive(status) as (port, got):
        CStoreSender(store_to(port, "PACS")).send(draft.documents[0])
    assert [content for _, content in got] == [data_set(draft.documents[0].content)]


def test_archive_without_room_gets_it_again(draft: DraftReport) -> None:
    with dicom_archive(0xA700) as (port, _), pytest.raises(TransientError, match="A700h"):
        CStoreSender(store_to(port, "PACS")).send(draft.documents[0])


def test_document_that_is_not_understood_is_refused(draft: DraftReport) -> None:
    with dicom_archive(0xC000) as (port, _), pytest.raises(PermanentError, match="C000h"):
        CStoreSender(store_to(port, "PACS")).send(draft.documents[0])


def test_sop_class_that_the_archive_does_not_take_is_refused_by_name(draft: DraftReport) -> None:
    with dicom_archive(0, classes=(EncapsulatedPDFStorage,)) as (port, _):
        sender = CStoreSender(store_to(port, "PACS"))
        with pytest.raises(PermanentError, match="sr"):
            sender.send(draft.document(DocumentKind.SR))
        sender.send(draft.document(DocumentKind.PDF))


def test_archive_that_knows_only_implicit_vr_gets_the_same_values(draft: DraftReport) -> None:
    sr = draft.document(DocumentKind.SR)
    with dicom_archive(0, syntaxes=[ImplicitVRLittleEndian]) as (port, got):
        CStoreSender(store_to(port, "PACS")).send(sr)
    [(syntax, content)] = got
    assert syntax == ImplicitVRLittleEndian
    assert content != data_set(sr.content)


def test_unknown_ae_title_waits_for_an_admin(draft: DraftReport) -> None:
    with dicom_archive(0) as (port, got), pytest.raises(TransientError) as caught:
        CStoreSender(store_to(port, "SOMEONE")).send(draft.documents[0])
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert got == []
