"""What ADT messages merge."""

import pytest

from operators.domain.errors import ConfigError
from operators.domain.hl7.message import Message, read_message
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from operators.domain.messages import Patient
from operators.patients.adt import MERGING_EVENTS, MOVING_EVENTS, MergeOrder, is_merge, merges_of, written_out
from operators.patients.config import IssuerName, PatientsConfig
from tests.support.adt import adt

CONFIG = PatientsConfig()


def message(text: str) -> Message:
    return read_message(text.encode(), "ASCII")


def orders(text: str, config: PatientsConfig = CONFIG) -> list[tuple[str, str]]:
    """Return what a message merges as issuer:id pairs."""
    return [(said(order.former), said(order.survivor)) for order in merges_of(message(text), config)]


def said(patient: Patient) -> str:
    return f"{patient.issuer}:{patient.patient_id}"


def refusal(text: str) -> RefusalReason:
    with pytest.raises(MessageRefusedError) as refused:
        merges_of(message(text), CONFIG)
    return refused.value.reason


@pytest.mark.parametrize("event", sorted(MERGING_EVENTS))
def test_every_merging_event_merges_what_goes_into_what_survives(event: str) -> None:
    text = adt(("B^^^H", "A^^^H"), event=event)
    assert is_merge(message(text), CONFIG)
    assert orders(text) == [("H:A", "H:B")]


def test_several_groups_are_several_merges() -> None:
    assert orders(adt(("B^^^H", "A^^^H"), ("D^^^H", "C^^^H"), ("B^^^H", "A^^^H"))) == [("H:A", "H:B"), ("H:C", "H:D")]


def test_identifiers_go_into_those_of_their_own_authority() -> None:
    text = adt(("B^^^H^MR~9^^^NAT^SS~22^^^LAB", "A^^^H^MR~9^^^NAT^SS~21^^^LAB"))
    assert orders(text) == [("H:A", "H:B"), ("LAB:21", "LAB:22")]


def test_of_several_identifiers_of_one_authority_the_one_of_the_same_type_is_meant() -> None:
    assert orders(adt(("B^^^H^MR~V9^^^H^VN", "A^^^H^MR"))) == [("H:A", "H:B")]


@pytest.mark.parametrize(("surviving", "going"), [("B", "A"), ("B^^^H", "A"), ("B", "A^^^H")])
def test_a_missing_authority_is_no_hindrance_where_there_is_one_identifier(surviving: str, going: str) -> None:
    ((former, survivor),) = orders(adt((surviving, going)))
    assert (former[-1], survivor[-1]) == ("A", "B")


@pytest.mark.parametrize(
    ("surviving", "going", "reason"),
    [
        ("B^^^H", "A^^^OTHER", RefusalReason.NO_COUNTERPART),
        ("B^^^H~C^^^H", "A^^^H", RefusalReason.NO_COUNTERPART),
        ("B~C", "A^^^H", RefusalReason.NO_COUNTERPART),
        ("B^^^H", "", RefusalReason.IDENTIFIER_MISSING),
        ("", "A^^^H", RefusalReason.IDENTIFIER_MISSING),
        ("B^^^H", '""^^^H', RefusalReason.IDENTIFIER_MISSING),
    ],
)
def test_what_cannot_be_paired_is_refused(surviving: str, going: str, reason: RefusalReason) -> None:
    assert refusal(adt((surviving, going))) is reason


@pytest.mark.parametrize(
    "segments", ["PID|1||B\r", "MRG|A\r", "PID|1||B\rPID|1||C\rMRG|A\r", "PID|1||B\rMRG|A\rMRG|C\r", "PV1|1\r"]
)
def test_segments_out_of_order_are_refused(segments: str) -> None:
    assert refusal(adt() + segments) is RefusalReason.SEGMENTS


def test_the_universal_id_stands_in_for_a_missing_namespace() -> None:
    assert orders(adt(("B^^^&1.2&ISO", "A^^^&1.2&ISO"))) == [("1.2:A", "1.2:B")]


def test_authorities_are_called_as_objects_call_them() -> None:
    config = PatientsConfig(issuers=(IssuerName(authority="1.2", issuer="H"), IssuerName(authority="KIS", issuer="")))
    assert orders(adt(("B^^^&1.2&ISO", "A^^^H")), config) == [("H:A", "H:B")]
    assert orders(adt(("B^^^KIS", "A^^^KIS")), config) == [(":A", ":B")]
    with pytest.raises(ConfigError, match="twice"):
        PatientsConfig(issuers=(IssuerName(authority="1", issuer="A"), IssuerName(authority="1", issuer="B")))


@pytest.mark.parametrize("event", ["A01", "A08", "A28", ""])
def test_other_events_are_rejected_unless_they_are_to_be_acknowledged(event: str) -> None:
    with pytest.raises(MessageRefusedError):
        is_merge(message(adt(event=event)), CONFIG)
    if event:
        assert not is_merge(message(adt(event=event)), PatientsConfig(acknowledge_other_events=True))


@pytest.mark.parametrize("event", sorted(MOVING_EVENTS))
def test_events_that_move_identifiers_are_never_acknowledged_as_if_they_had_been(event: str) -> None:
    assert event not in MERGING_EVENTS
    with pytest.raises(MessageRefusedError):
        is_merge(message(adt(event=event)), PatientsConfig(acknowledge_other_events=True))


@pytest.mark.parametrize(
    ("former", "survivor", "written"),
    [
        ("H:A", "H:B", ["H:A>H:B", ":A>:B"]),
        (":A", ":B", ["H:A>H:B", ":A>:B"]),
        ("H:A", "X:B", ["H:A>X:B", ":A>X:B"]),
        ("X:A", "H:B", ["X:A>H:B"]),
        ("X:A", "Y:B", ["X:A>Y:B"]),
        ("H:A", ":A", []),
    ],
)
def test_identifiers_of_the_local_issuer_are_merged_with_it_and_without(
    former: str, survivor: str, written: list[str]
) -> None:
    issuers = [Patient(issuer=name.split(":")[0], patient_id=name.split(":")[1]) for name in (former, survivor)]
    order = MergeOrder(former=issuers[0], survivor=issuers[1])
    found = written_out(order, PatientsConfig(local_issuer="H"))
    assert [f"{said(one.former)}>{said(one.survivor)}" for one in found] == written
