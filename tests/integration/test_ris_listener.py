"""The listener for HL7 messages, spoken to by the hl7 package's MLLP client and by bare sockets."""

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hl7
import pytest

from app.postgres.ports import LOOPBACK, free_port
from operators.domain.database import Pool, open_pool
from operators.domain.errors import ConfigError
from operators.domain.hl7.framing import BlockBuffer, block
from operators.domain.reasons import ReasonCode
from operators.domain.tls_config import TlsConfig
from operators.patients.config import PatientsConfig
from operators.ris.config import RisConfig
from operators.ris.inbox import RisInbox
from operators.ris.listener import RisListener
from tests.support.adt import adt, codes, send, unwrapped
from tests.support.embeddings import query
from tests.support.peers.process import wait_until
from tests.support.peers.tls import make_tls
from tests.support.priors import StandingClock
from tests.support.ris_listener import listening

pytestmark = pytest.mark.peer
MERGED = "SELECT former_key, current_key FROM patient_merges ORDER BY former_key"


@pytest.fixture
def ris(pool: Pool) -> Iterator[RisListener]:
    with listening(pool) as listener:
        yield listener


def merged(pool: Pool) -> dict[str, str]:
    """Return the merges in force as issuer:id."""
    rows = query(pool, MERGED)
    return {row["former_key"].replace("\x1f", ":"): row["current_key"].replace("\x1f", ":") for row in rows}


def kept(pool: Pool) -> list[dict[str, Any]]:
    return query(pool, "SELECT * FROM hl7_inbox ORDER BY inbox_id")


def error_of(message: hl7.Message) -> str:
    return str(message.segment("ERR")[3]).split("^")[0]


class Line:
    """A bare connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((LOOPBACK, port), timeout=20)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def answers(self, count: int) -> list[hl7.Message]:
        """Return so many answers, or those that came before the other side hung up."""
        buffer, found = BlockBuffer(1 << 20), list[bytes]()
        with contextlib.suppress(ConnectionError):
            while len(found) < count and (portion := self.socket.recv(65536)):
                found += buffer.feed(portion)
        return [unwrapped(block(content)) for content in found]

    def can_say(self, portion: bytes) -> bool:
        try:
            self.socket.sendall(portion)
        except ConnectionError:
            return False
        return True

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True


# --- merges --------------------------------------------------------------------------------------------------------


def test_a_merge_is_accepted_durable_and_recorded_with_its_message(pool: Pool, ris: RisListener) -> None:
    (answer,) = send(ris.port, adt(("B^^^H", "A^^^H"), ("D^^^H", "C^^^H")))
    assert codes([answer]) == ["AA"]
    assert str(answer.segment("MSA")[2]) == "MSG1"
    assert merged(pool) == {"H:A": "H:B", "H:C": "H:D"}
    (message,) = kept(pool)
    assert (message["sender"], message["message_type"], message["answer"]) == ("RIS|MAIN", "ADT^A40", "AA")
    assert bytes(message["content"]) == adt(("B^^^H", "A^^^H"), ("D^^^H", "C^^^H")).encode()
    events = query(pool, "SELECT * FROM patient_events")
    assert {(event["source"], event["who"], event["message"], event["inbox_id"]) for event in events} == {
        ("hl7", "RIS|MAIN", "ADT^A40 MSG1", message["inbox_id"])
    }


def test_a_repetition_is_accepted_again_and_does_nothing_even_after_an_undoing(pool: Pool, ris: RisListener) -> None:
    text = adt(("B^^^H", "A^^^H"))
    send(ris.port, text)
    query(pool, "DELETE FROM patient_merges RETURNING 1")
    again = adt(("B^^^H", "A^^^H"), msh_7="20260401")
    assert codes(send(ris.port, text, again)) == ["AA", "AA"]
    assert merged(pool) == {}
    assert [message["times"] for message in kept(pool)] == [3]


def test_a_control_id_used_for_another_message_or_by_another_sender_is_another_message(
    pool: Pool, ris: RisListener
) -> None:
    answers = send(
        ris.port, adt(("B", "A")), adt(("D", "C")), adt(("F", "E"), msh_3="HIS"), adt(("B", "A"), msh_3="HIS")
    )
    assert codes(answers) == ["AA"] * 4
    assert set(merged(pool)) == {":A", ":C", ":E"}
    assert len(kept(pool)) == 4


def test_the_same_message_on_many_connections_at_once_is_done_once(pool: Pool, ris: RisListener) -> None:
    answers: list[str] = []

    def deliver() -> None:
        answers.extend(codes(send(ris.port, adt(("B", "A")))))

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["AA"] * 8
    assert len(query(pool, "SELECT * FROM patient_events")) == 1
    assert [message["times"] for message in kept(pool)] == [8]


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        (adt(("A^^^H", "B^^^H")), "AE", "205"),
        (adt(("X^^^H", "A^^^H")), "AE", "205"),
        (adt(("X^^^H", "Y^^^OTHER")), "AE", "204"),
        (adt(("X^^^H", "")), "AE", "101"),
        (adt(event="A40"), "AE", "100"),
        (adt(event="A01"), "AR", "201"),
        (adt(event="A37"), "AR", "201"),
        (adt(("X", "Y"), msh_9="ORM^O01"), "AR", "200"),
        (adt(("X", "Y"), msh_11="T"), "AR", "202"),
        (adt(("X", "Y"), version="3.0"), "AR", "203"),
        (adt(("X", "Y"), control_id=""), "AR", "101"),
        (adt(("X", "Y"), charset="KLINGON"), "AE", "103"),
        ("no message", "AR", "100"),
    ],
)
def test_what_is_not_taken_is_answered_with_its_reason_and_changes_nothing(
    pool: Pool, ris: RisListener, text: str, code: str, error: str
) -> None:
    send(ris.port, adt(("B^^^H", "A^^^H"), control_id="BEFORE"))
    (answer,) = send(ris.port, text)
    assert (codes([answer]), error_of(answer)) == ([code], error)
    assert "Planted" not in str(answer)
    assert merged(pool) == {"H:A": "H:B"}


def test_of_a_message_all_merges_are_made_or_none(pool: Pool, ris: RisListener) -> None:
    text = adt(("B^^^H", "A^^^H"), ("A^^^H", "B^^^H"))
    assert codes(send(ris.port, text)) == ["AE"]
    assert merged(pool) == {}
    assert query(pool, "SELECT * FROM patient_events") == []
    (message,) = kept(pool)
    assert (message["answer"], message["refusal"]) == ("AE", "CIRCULAR")


def test_a_refused_message_is_judged_anew_when_it_comes_again(pool: Pool, ris: RisListener) -> None:
    send(ris.port, adt(("B", "A"), control_id="WRONG"))
    text = adt(("A", "B"), control_id="RIGHT")
    assert codes(send(ris.port, text)) == ["AE"]
    query(pool, "DELETE FROM patient_merges RETURNING 1")
    assert codes(send(ris.port, text)) == ["AA"]
    assert merged(pool) == {":B": ":A"}
    assert [(message["answer"], message["refusal"]) for message in kept(pool)] == [("AA", None)] * 2


def test_identifiers_of_the_local_issuer_follow_with_it_and_without(pool: Pool) -> None:
    with listening(pool, PatientsConfig(local_issuer="H", acknowledge_other_events=True)) as listener:
        assert codes(send(listener.port, adt(("B^^^H", "A^^^H")), adt(event="A08", control_id="2"))) == ["AA", "AA"]
    assert merged(pool) == {":A": ":B", "H:A": "H:B"}


@pytest.mark.parametrize(
    ("charset", "codec"), [("UNICODE UTF-8", "utf_8"), ("8859/7", "iso8859_7"), ("~ISO IR87", "iso2022_jp")]
)
def test_identifiers_are_read_in_the_character_set_of_the_message(
    pool: Pool, ris: RisListener, charset: str, codec: str
) -> None:
    raw = adt(("Σ2^^^Δ", "Σ1^^^Δ"), charset=charset).encode(codec)
    (answer,) = send(ris.port, raw)
    assert codes([answer]) == ["AA"]
    assert str(answer.segment("MSH")[18]).strip("~") == charset.strip("~")
    assert merged(pool) == {"Δ:Σ1": "Δ:Σ2"}


# --- the wire ------------------------------------------------------------------------------------------------------


def test_messages_in_single_bytes_and_several_in_one_portion_are_all_answered_in_their_order(
    pool: Pool, ris: RisListener
) -> None:
    stream = b"\r\n".join(block(adt((f"B{n}", f"A{n}"), control_id=f"N{n}").encode()) for n in range(6))
    with Line(ris.port) as line:
        line.socket.sendall(stream)
        for position in range(len(stream)):
            line.socket.sendall(stream[position : position + 1].replace(b"N", b"M"))
        answers = line.answers(12)
    assert [str(answer.segment("MSA")[2]) for answer in answers] == [f"{c}{n}" for c in "NM" for n in range(6)]
    assert set(codes(answers)) <= {"AA", "AR"}
    assert codes(answers)[:6] == ["AA"] * 6
    assert len(merged(pool)) == 6


def test_a_message_that_is_too_large_is_refused_by_its_control_id(pool: Pool) -> None:
    with listening(pool, maximum_message_bytes=2048) as listener, Line(listener.port) as line:
        line.socket.sendall(b"\x0b" + adt(("B", "A")).encode() + b"X" * 4096)
        (answer,) = line.answers(1)
        assert (codes([answer]), str(answer.segment("MSA")[2])) == (["AR"], "MSG1")
        assert line.is_closed()
    assert kept(pool) == []


def test_a_message_that_does_not_end_and_an_idle_connection_are_closed(pool: Pool) -> None:
    with listening(pool, message_timeout_s=0.5, idle_timeout_s=600.0) as listener, Line(listener.port) as line:
        line.socket.sendall(b"\x0bMSH|^~\\&|RIS")
        assert line.is_closed()
    with listening(pool, idle_timeout_s=0.5) as listener, Line(listener.port) as line:
        assert line.is_closed()


def test_a_message_that_trickles_in_is_not_waited_for_longer(pool: Pool) -> None:
    with listening(pool, message_timeout_s=0.8) as listener, Line(listener.port) as line:
        line.socket.sendall(b"\x0bMSH")
        assert wait_until(lambda: not line.can_say(b"X"), 10)


def test_many_connections_are_served_side_by_side_and_one_too_many_is_closed(pool: Pool) -> None:
    with listening(pool, maximum_connections=5) as listener:
        lines = [Line(listener.port) for _ in range(5)]
        for number, line in enumerate(lines):
            line.socket.sendall(block(adt((f"B{number}", f"A{number}"), control_id=f"N{number}").encode()))
        assert codes([line.answers(1)[0] for line in lines]) == ["AA"] * 5
        with Line(listener.port) as sixth:
            assert sixth.is_closed()
        lines[0].socket.close()
        assert wait_until(lambda: _is_served(listener.port), 10)
        for line in lines[1:]:
            line.socket.close()
    assert len(merged(pool)) == 5


def _is_served(port: int) -> bool:
    with Line(port) as line:
        try:
            line.socket.sendall(block(adt(event="A01").encode()))
            return len(line.answers(1)) == 1
        except ConnectionError:
            return False


def test_an_address_that_is_not_listed_is_turned_away(pool: Pool) -> None:
    with listening(pool, addresses=("10.0.0.0/8",)) as listener, Line(listener.port) as line:
        assert line.is_closed()


def test_a_sender_that_is_not_listed_is_rejected(pool: Pool) -> None:
    with listening(pool, senders=("HIS", "RIS|OTHER")) as listener:
        (answer,) = send(listener.port, adt(("B", "A")))
    assert (codes([answer]), error_of(answer)) == (["AR"], "207")
    assert merged(pool) == {}


def test_tls_with_client_certificates_lets_in_who_has_one(pool: Pool, tmp_path: Path) -> None:
    tls = make_tls(tmp_path / "tls")
    secured = TlsConfig(certificate_path=str(tls.server_certificate), key_path=str(tls.server_key), ca_path=str(tls.ca))
    known = ssl.create_default_context(cafile=str(tls.ca))
    stranger = ssl.create_default_context(cafile=str(tls.ca))
    known.load_cert_chain(tls.client_certificate, tls.client_key)
    with listening(pool, tls=secured) as listener:
        with Line(listener.port) as line:
            line.socket = known.wrap_socket(line.socket, server_hostname="localhost")
            line.socket.sendall(block(adt(("B", "A")).encode()))
            assert codes(line.answers(1)) == ["AA"]
        with Line(listener.port) as line, contextlib.suppress(ssl.SSLError):
            line.socket = stranger.wrap_socket(line.socket, server_hostname="localhost")
            line.can_say(block(adt(("D", "C")).encode()))
            assert line.answers(1) == []
        with Line(listener.port) as line:
            line.socket.sendall(block(adt(("D", "C")).encode()))
            assert line.answers(1) == []
    assert merged(pool) == {":A": ":B"}


def test_tls_files_that_cannot_be_used_are_named(pool: Pool, tmp_path: Path) -> None:
    missing = TlsConfig(certificate_path=str(tmp_path / "no.pem"), key_path="b", require_client_certificate=False)
    with pytest.raises(ConfigError, match=r"ris\.tls"), listening(pool, tls=missing):
        pass


def test_a_taken_port_is_named(pool: Pool, ris: RisListener) -> None:
    config = RisConfig(enabled=True, port=ris.port)
    with pytest.raises(ConfigError, match=f"HL7 port {ris.port} on 127.0.0.1 is taken") as refused:
        RisListener(config, RisInbox(pool, {}), StandingClock()).start()
    assert refused.value.code is ReasonCode.PORT_IN_USE


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_while_the_database_is_away_nothing_is_accepted(pool: Pool) -> None:
    url = f"postgresql://interval@{LOOPBACK}:{free_port()}/interval?connect_timeout=1"
    with open_pool(url, max_size=1, wait_s=0.3) as nowhere, listening(nowhere) as listener:
        (answer,) = send(listener.port, adt(("B", "A")))
    assert (codes([answer]), error_of(answer)) == (["AE"], "207")


def test_a_database_that_goes_away_in_the_middle_is_no_acceptance(pool: Pool, ris: RisListener) -> None:
    """The message waits for a lock, and its connection to the database is cut meanwhile."""
    found: list[hl7.Message] = []
    with pool.connection() as holder, holder.transaction():
        holder.execute("LOCK TABLE patient_events IN ACCESS EXCLUSIVE MODE")
        thread = threading.Thread(target=lambda: found.extend(send(ris.port, adt(("B", "A")))))
        thread.start()
        cut = """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'"""
        assert wait_until(lambda: bool(query(pool, cut)), 10)  # a transaction would see the first look's rows again
        thread.join(20)
    assert codes(found) == ["AE"]
    assert (merged(pool), kept(pool)) == ({}, [])
    assert codes(send(ris.port, adt(("B", "A")))) == ["AA"]
    assert merged(pool) == {":A": ":B"}


def test_a_defect_is_no_acceptance_and_the_connection_lives_on(
    pool: Pool, ris: RisListener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("Smith^Planted")

    monkeypatch.setattr("operators.patients.taker.merge", broken)
    answers = send(ris.port, adt(("B", "A")), adt(event="A01"))
    assert (codes(answers), [error_of(answer) for answer in answers]) == (["AE", "AR"], ["207", "201"])
    assert kept(pool)[0]["answer"] == "AR"
    assert "Planted" not in caplog.text


def test_nothing_of_a_patient_is_in_logs_or_answers(
    pool: Pool, ris: RisListener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    texts = [adt(("SURVIVOR77^^^H", "FORMER77^^^H")), adt(("FORMER77^^^H", "SURVIVOR77^^^H"), control_id="2")]
    answers = send(ris.port, *texts, adt(("SURVIVOR77^^^H", ""), control_id="3"))
    assert codes(answers) == ["AA", "AE", "AE"]
    told = caplog.text + "".join(str(vars(record)) for record in caplog.records) + "".join(map(str, answers))
    assert "patients.changed" in told
    assert not [word for word in ("SURVIVOR77", "FORMER77", "Planted") if word in told]


def test_a_listener_that_stops_lets_go_of_its_port_and_its_connections(pool: Pool) -> None:
    with listening(pool) as listener, Line(listener.port) as line:
        line.socket.sendall(b"\x0bMSH|^~\\&|cut")
        listener.stop()
        assert line.is_closed()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, listener.port), timeout=5)


def test_messages_are_forgotten_after_their_time_and_what_they_did_stays(pool: Pool, ris: RisListener) -> None:
    send(ris.port, adt(("B", "A")), adt(("D", "C"), control_id="2"))
    query(pool, "UPDATE hl7_inbox SET last_at = now() - interval '100 days' WHERE control_id = 'MSG1' RETURNING 1")
    with listening(pool, keep_days=90):
        assert wait_until(lambda: len(kept(pool)) == 1, 10)
    assert set(merged(pool)) == {":A", ":C"}
    assert len(query(pool, "SELECT * FROM patient_events")) == 2


def test_answers_are_counted(pool: Pool, ris: RisListener) -> None:
    send(ris.port, adt(("B", "A")), adt(("B", "A")), adt(("A", "B"), control_id="2"))
    counted = query(pool, "SELECT label, value FROM counters WHERE name = 'hl7_messages' ORDER BY label")
    assert [(row["label"], row["value"]) for row in counted] == [("AA", 2), ("AE", 1)]


def test_a_value_that_the_database_cannot_hold_is_no_acceptance(pool: Pool, ris: RisListener) -> None:
    header, rest = adt(("B", "A")).encode().split(b"\r", 1)
    (answer,) = send(ris.port, header.replace(b"|INTERVAL", b"|INT\x00VAL") + b"\r" + rest)
    assert codes([answer]) == ["AR"]
    (answer,) = send(ris.port, adt(("B", "A")).replace("^A40", "^A40\x00").encode())
    assert codes([answer]) == ["AR"]
    assert merged(pool) == {}
