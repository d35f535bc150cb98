"""From a draft to the RIS: the notify stage's messages at a strict receiver that another library wrote."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hl7
import pytest

from operators.domain.drafts import DraftReport
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import InstanceUid, Revision
from operators.domain.messages import Patient
from operators.domain.reasons import ReasonCode
from operators.notify.config import Hl7Version, MllpDestination, NotifyConfig, TlsFiles
from operators.notify.mllp import MllpSender
from operators.notify.stage import NotifyStage
from tests.support.peers.ris import Answer, RisMessage, RisPeer
from tests.support.peers.tls import make_tls
from tests.unit.notify.drafts import SR_UID, a_draft, a_study, destination

pytestmark = pytest.mark.peer


@pytest.fixture
def ris(tmp_path: Path) -> Iterator[RisPeer]:
    with RisPeer(tmp_path / "ris") as peer:
        yield peer


def notify(peer: RisPeer, draft: DraftReport, **wishes: Any) -> RisMessage:
    """Run the stage on the draft and send what it wrote; return what the RIS received last."""
    to: MllpDestination = destination(**{"port": peer.port, "ack_timeout_s": 10.0, **wishes})
    (entry,) = NotifyStage(NotifyConfig(destinations=(to,)))(draft).entries
    MllpSender(to).send(entry.document)
    return peer.messages[-1]


def name_field(message: RisMessage) -> str:
    return str(message.parsed["PID"][0][5])


@pytest.mark.parametrize("version", list(Hl7Version))
def test_message_is_taken_without_fault_in_every_version(ris: RisPeer, version: Hl7Version) -> None:
    message = notify(ris, a_draft(), version=version)

    assert message.fault == ""
    assert message.answer == "AA"


@pytest.mark.parametrize("charset", ["UNICODE UTF-8", "8859/7", "ISO IR87", "8859/1"])
@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("Παπαδόπουλος^Γιώργος", {"UNICODE UTF-8", "8859/7"}),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", {"UNICODE UTF-8", "ISO IR87"}),
        ("Ångström^Søren^Åse", {"UNICODE UTF-8", "8859/1"}),
    ],
)
def test_name_arrives_or_the_message_says_what_is_missing(
    ris: RisPeer, charset: str, name: str, needs: set[str]
) -> None:
    message = notify(ris, a_draft(study=a_study(Patient(patient_id="P1", name=name))), character_set=charset)

    parts = [part for group in name.split("=") for part in group.split("^")]
    arrived = all(part in name_field(message) for part in parts)
    noted = any(
        "does not fit" in str(row) or "do not fit" in str(row) for row in message.parsed if str(row[0]) == "NTE"
    )
    assert message.fault == ""
    assert arrived is (charset in needs)
    assert noted is (charset not in needs)
    assert "?" not in message.text


def test_text_with_every_delimiter_arrives_as_it_was(ris: RisPeer) -> None:
    sentence = "Size \N{GREATER-THAN OR EQUAL TO} 5 mm | a^b & c~d \\ e\nnext line"

    parsed: hl7.Message = notify(ris, a_draft(sentences=(sentence,), findings=())).parsed

    assert parsed.unescape(str(parsed.segments("OBX")[-1][5])) == sentence.replace("\n", "\r")


def test_second_revision_is_another_message_of_the_same_order(ris: RisPeer) -> None:
    first = notify(ris, a_draft())
    second = notify(
        ris, a_draft(revision=Revision(2), predecessor_sr_uid=InstanceUid(SR_UID), identity_digest="e" * 64)
    )

    assert first.control_id != second.control_id
    assert str(first.parsed["OBR"][0][3]) == str(second.parsed["OBR"][0][3])
    assert SR_UID in "".join(str(row) for row in second.parsed.segments("NTE"))


def test_resend_after_a_lost_answer_is_the_same_message(ris: RisPeer) -> None:
    ris.answer = Answer.SILENT
    with pytest.raises(TransientError):
        notify(ris, a_draft(), ack_timeout_s=0.3)
    ris.answer = Answer.AA
    notify(ris, a_draft())

    assert len(ris.messages) == 2
    assert [len(contents) for contents in ris.distinct().values()] == [1]


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (Answer.AR, PermanentError, ReasonCode.RIS_REFUSED),
        (Answer.AE, TransientError, ReasonCode.RIS_REFUSED),
        (Answer.CLOSE, TransientError, ReasonCode.RIS_AWAY),
    ],
)
def test_what_the_ris_answers_decides_what_becomes_of_the_message(
    ris: RisPeer, answer: Answer, error: type[Exception], code: ReasonCode
) -> None:
    ris.answer = answer

    with pytest.raises((PermanentError, TransientError)) as caught:
        notify(ris, a_draft())

    assert type(caught.value) is error
    assert caught.value.code is code


def test_ris_that_was_away_gets_the_message_when_it_is_back(ris: RisPeer) -> None:
    ris.stop()
    with pytest.raises(TransientError):
        notify(ris, a_draft())
    ris.start()

    assert notify(ris, a_draft()).answer == "AA"


def test_message_arrives_by_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    keys = make_tls(tmp_path / "keys")
    files = TlsFiles(ca_file=keys.ca, certificate_file=keys.client_certificate, key_file=keys.client_key)

    with RisPeer(tmp_path / "ris", tls=keys, client_certificate_required=True) as peer:
        assert notify(peer, a_draft(), tls=files).fault == ""
