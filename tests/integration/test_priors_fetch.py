"""Objects by WADO-RS from a server that misbehaves as told: whole and byte for byte, or no file and the right error."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import InstanceUid, SeriesUid, StudyUid
from operators.domain.reasons import ReasonCode
from operators.priors.candidates import WantedImage
from tests.support.scripted_web import MULTIPART, Answer, ScriptedServer, answering, archive_of, multipart, running

WANTED = WantedImage(
    study_uid=StudyUid("1.2.1"), series_uid=SeriesUid("1.2.1.1"), instance_uid=InstanceUid("1.2.1.1.1")
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    yield from running()


def test_an_object_is_written_byte_for_byte_as_it_came(server: ScriptedServer, tmp_path: Path) -> None:
    content = (b"\r\n--a-bound" + bytes(range(256))) * 5000  # the beginning of the boundary occurs in the pixels
    server.answer = answering(200, multipart(content), Content_Type=MULTIPART)
    archive_of(server).fetch(WANTED, tmp_path / "deep" / "a.dcm")
    assert (tmp_path / "deep" / "a.dcm").read_bytes() == content
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.dcm"]
    assert "transfer-syntax=*" in server.requests[0][1]["Accept"]


def test_an_object_sent_without_a_multipart_message_is_taken(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer = answering(200, b"DICM", Content_Type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
    archive_of(server).fetch(WANTED, tmp_path / "a.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == b"DICM"


def test_a_server_without_any_transfer_syntax_is_asked_without_it(server: ScriptedServer, tmp_path: Path) -> None:
    def picky(path: str, query: dict[str, list[str]]) -> Answer:
        if "transfer-syntax" in server.requests[-1][1]["Accept"]:
            return 406, {}, b""
        return 200, {"Content-Type": MULTIPART}, multipart(b"DICM")

    server.answer = picky
    archive_of(server).fetch(WANTED, tmp_path / "a.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == b"DICM"


TRUNCATED = multipart(b"x" * 5000)[:3000]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": MULTIPART},
        {"Content-Type": MULTIPART, "Content-Length": "5100", "Connection": "close"},
        {"Content-Type": "application/dicom", "Content-Length": "5100", "Connection": "close"},
    ],
)
def test_an_object_cut_short_leaves_no_file_and_is_transient(
    server: ScriptedServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.answer = lambda path, query: (200, headers, TRUNCATED)
    with pytest.raises(TransientError) as caught:
        archive_of(server).fetch(WANTED, tmp_path / "a.dcm")
    assert caught.value.code is ReasonCode.PACS_AWAY
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/html", b"<html>"), ("multipart/related", b"x"), (MULTIPART, b"no boundary at all"), ("", b"x")],
)
def test_an_answer_that_is_no_object_is_a_refusal(
    server: ScriptedServer, tmp_path: Path, content_type: str, body: bytes
) -> None:
    server.answer = answering(200, body, Content_Type=content_type)
    with pytest.raises(PermanentError) as caught:
        archive_of(server).fetch(WANTED, tmp_path / "a.dcm")
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_file_is_transient_and_not_the_pacs_fault(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer = answering(200, multipart(b"DICM"), Content_Type=MULTIPART)
    (tmp_path / "file").write_text("where a folder should be")
    with pytest.raises(TransientError) as caught:
        archive_of(server).fetch(WANTED, tmp_path / "file" / "a.dcm")
    assert caught.value.code is ReasonCode.STORAGE_FULL
