"""The ORU message: what stands in which field, parsed back by a library that did not write it."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import hl7
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from operators.domain.drafts import DraftReport
from operators.domain.errors import PermanentError
from operators.domain.hl7.er7 import LineBreak
from operators.domain.ids import AccessionNumber, InstanceUid, Revision, control_id
from operators.domain.messages import ChangeState, Patient, Presence
from operators.domain.reasons import ReasonCode
from operators.notify.config import Hl7Version, MllpDestination, ResultStatus
from operators.notify.oru import build_oru
from tests.unit.notify.drafts import (
    OTHER_STUDY_UID,
    SR_UID,
    STUDY_UID,
    a_draft,
    a_finding,
    a_study,
    destination,
)


def parsed(draft: DraftReport, to: MllpDestination | None = None) -> hl7.Message:
    to = to or destination()
    return hl7.parse(build_oru(draft, to).content.decode(to.charset.codec))


def named(name: str) -> Patient:
    return Patient(patient_id="P1", name=name)


def observations(message: hl7.Message, value_type: str) -> list[hl7.Segment]:
    return [row for row in message.segments("OBX") if str(row[2]) == value_type]


@pytest.mark.parametrize("version", list(Hl7Version))
@pytest.mark.parametrize("revision", [1, 2])
def test_message_is_valid_in_every_version(version: Hl7Version, revision: int) -> None:
    draft = a_draft(revision=Revision(revision), predecessor_sr_uid=InstanceUid("2.25.4") if revision > 1 else None)

    document = build_oru(draft, destination(version=version, receiving_application="RIS", receiving_facility="HOSP"))

    message = parse_message(document.content.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    assert message.validate()
    assert message.msh.msh_12.to_er7() == version.value


def test_same_draft_gives_the_same_bytes_and_another_destination_another_control_id() -> None:
    first, again = (build_oru(a_draft(), destination()) for _ in range(2))
    other = build_oru(a_draft(), destination(name="archive"))
    revised = build_oru(a_draft(identity_digest="e" * 64), destination())

    assert first == again
    assert first.identity == control_id("d" * 64, "ris", "oru")
    assert len({first.identity, other.identity, revised.identity}) == 3
    assert str(hl7.parse(first.content.decode())["MSH"][0][10]) == first.identity


def test_draft_is_marked_unverified_and_has_no_interpreter() -> None:
    message = parsed(a_draft())

    order = message["OBR"][0]
    assert str(order[25]) == "R"
    assert {str(row[11]) for row in message.segments("OBX")} == {"R"}
    assert len(order) <= 32 or not str(order[32])


def test_status_p_is_sent_only_where_the_destination_asks_for_it() -> None:
    message = parsed(a_draft(), destination(result_status=ResultStatus.P))

    assert str(message["OBR"][0][25]) == "P"
    assert {str(row[11]) for row in message.segments("OBX")} == {"P"}


def test_order_carries_own_number_and_service_and_the_study_identifiers() -> None:
    order = parsed(a_draft())["OBR"][0]

    assert str(order[2]) == str(order[3]) == f"{control_id('filler', STUDY_UID)}^INTERVAL"
    assert str(order[4]) == "IVDRAFT^Draft comparison with prior^99INTERVAL"
    assert (str(order[7]), str(order[18]), str(order[19])) == ("20260304050403", "ACC7", "RP9")
    assert str(order[22]) == "20260304050607+0000"


def test_references_name_report_study_and_image() -> None:
    rows = observations(parsed(a_draft()), "HD")

    assert {str(row[3]): str(row[5]) for row in rows} == {
        "^SR Instance UID": SR_UID,
        "^Study Instance UID": STUDY_UID,
        "^Series Instance UID": "2.25.2002",
        "^SOP Instance UID": "2.25.3003",
        "^SOP Class UID": "1.2.840.10008.5.1.4.1.1.1.1",
    }


def test_text_starts_with_the_notice_and_holds_every_sentence() -> None:
    rows = observations(parsed(a_draft(sentences=("One.", "Two."))), "TX")

    assert [str(row[5]) for row in rows] == [
        "DRAFT written by a computer, not verified by a physician.",
        "Model Small CXR 1.0.",
        "One.",
        "Two.",
    ]


@pytest.mark.parametrize(
    ("state", "current", "value"),
    [
        (ChangeState.NEW, Presence.PRESENT, "7147002^New^SCT"),
        (ChangeState.RESOLVED, Presence.ABSENT, "723506003^Resolved^SCT"),
        (ChangeState.STABLE, Presence.PRESENT, "260388006^No change^SCT"),
    ],
)
def test_finding_is_the_question_and_its_state_the_answer(state: ChangeState, current: Presence, value: str) -> None:
    (row,) = observations(parsed(a_draft(findings=(a_finding(state=state, current=current),))), "CWE")

    assert str(row[3]) == "36118008^Pneumothorax^SCT^E6^Pneumothorax in Pleura^99INTERVAL"
    assert (str(row[5]), str(row[9])) == (value, "0.875")


def test_presence_that_is_no_stated_change_comes_with_its_own_probability() -> None:
    finding = a_finding(state=ChangeState.UNDETERMINED, confidence=0.0)

    (row,) = observations(parsed(a_draft(findings=(finding,))), "CWE")

    assert (str(row[5]), str(row[9])) == ("52101004^Present^SCT", "0.910")


@pytest.mark.parametrize(
    ("state", "current"),
    [
        (ChangeState.ABSENT, Presence.ABSENT),
        (ChangeState.UNDETERMINED, Presence.UNDETERMINED),
        (ChangeState.UNDETERMINED, Presence.ABSENT),
    ],
)
def test_finding_that_is_absent_or_undetermined_is_not_coded(state: ChangeState, current: Presence) -> None:
    assert not observations(parsed(a_draft(findings=(a_finding(state=state, current=current),))), "CWE")


def test_old_versions_get_the_coded_type_that_they_know() -> None:
    message = parsed(a_draft(), destination(version=Hl7Version.V24))

    assert len(observations(message, "CE")) == 1
    assert not observations(message, "CWE")


def test_nothing_of_another_patient_is_in_the_message() -> None:
    content = build_oru(a_draft(), destination()).content

    assert OTHER_STUDY_UID.encode() not in content
    assert b"2.25.8888888" not in content


def test_second_revision_keeps_the_order_number_and_says_what_it_replaces() -> None:
    first = parsed(a_draft())
    second = parsed(a_draft(revision=Revision(2), predecessor_sr_uid=InstanceUid(SR_UID), identity_digest="e" * 64))

    assert "NTE" not in {str(row[0]) for row in first}
    assert str(first["OBR"][0][3]) == str(second["OBR"][0][3])
    notes = [str(row[3]) for row in second.segments("NTE")]
    assert notes == [
        "Revision 2 of this draft. It replaces all earlier revisions.",
        f"It replaces the draft with SR Instance UID {SR_UID}.",
    ]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Doe^Jane^Q^Dr^Jr", "Doe^Jane^Q^Jr^Dr^^L"),
        ("Παπαδόπουλος^Γιώργος", "Παπαδόπουλος^Γιώργος^^^^^L"),
        ("Ångström^Søren", "Ångström^Søren^^^^^L"),
        (
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P",
        ),
        ("=山田^太郎", "山田^太郎^^^^^L^I"),
    ],
)
def test_person_name_becomes_name_components_and_repetitions(name: str, field: str) -> None:
    assert str(parsed(a_draft(study=a_study(named(name))))["PID"][0][5]) == field


def test_patient_without_name_and_id_gives_empty_fields() -> None:
    patient = Patient(patient_id="", issuer="HOSP", birth_date="19700102")

    row = parsed(a_draft(study=a_study(patient)))["PID"][0]

    assert (str(row[3]), str(row[5]), str(row[7])) == ("", "", "19700102")


@pytest.mark.parametrize(
    ("charset", "msh_18", "name"),
    [
        ("8859/1", "8859/1", "Ångström^Søren"),
        ("8859/7", "8859/7", "Παπαδόπουλος^Γιώργος"),
        ("ISO IR87", "~ISO IR87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("UNICODE UTF-8", "UNICODE UTF-8", "Παπαδόπουλος^Søren=山田^太郎"),
    ],
)
def test_message_is_written_in_the_character_set_that_it_names(charset: str, msh_18: str, name: str) -> None:
    to = destination(character_set=charset)

    message = parsed(a_draft(study=a_study(named(name))), to)

    assert str(message["MSH"][0][18]) == msh_18
    spelled = str(message["PID"][0][5])
    assert all(part in spelled for group in name.split("=") for part in group.split("^"))


def test_spelling_that_does_not_fit_is_left_out_where_another_fits() -> None:
    study = a_study(named("Yamada^Tarou=山田^太郎"))

    message = parsed(a_draft(study=study), destination(character_set="8859/1"))

    assert str(message["PID"][0][5]) == "Yamada^Tarou^^^^^L"
    assert [str(row[3]) for row in message.segments("NTE")] == [
        "A spelling of the patient's name does not fit into 8859/1 and is left out."
    ]


def test_characters_that_nothing_else_can_say_stand_by_number_and_a_note_tells_it() -> None:
    draft = a_draft(study=a_study(named("山田")), sentences=("Size \N{GREATER-THAN OR EQUAL TO} 5 mm.",))

    message = parsed(draft, destination(character_set="8859/1"))

    assert str(message["PID"][0][5]) == "[U+5C71][U+7530]^^^^^^L"
    assert str(observations(message, "TX")[-1][5]) == "Size >= 5 mm."
    assert "2 characters do not fit into 8859/1" in str(message["NTE"][0][3])
    assert b"?" not in build_oru(draft, destination(character_set="8859/1")).content


def test_identifier_that_does_not_fit_is_refused_rather_than_changed() -> None:
    study = a_study(accession_number=AccessionNumber("\N{GREEK SMALL LETTER ALPHA}7"))

    with pytest.raises(PermanentError) as caught:
        build_oru(a_draft(study=study), destination(character_set="8859/1"))

    assert caught.value.code is ReasonCode.REPORT_INVALID
    assert "\N{GREEK SMALL LETTER ALPHA}7" not in str(caught.value)


def test_finding_with_an_unknown_code_is_refused() -> None:
    odd = a_finding(entity=replace(a_finding().entity, finding_code="no_such_code"))

    with pytest.raises(PermanentError) as caught:
        build_oru(a_draft(findings=(odd,)), destination())

    assert caught.value.code is ReasonCode.REPORT_INVALID


@pytest.mark.parametrize(
    ("issuer", "configured", "field"),
    [
        ("HOSP", "OTHER", "P1^^^HOSP^PI"),
        ("", "OTHER", "P1^^^OTHER^PI"),
        ("", "", "P1^^^^PI"),
        ("1.2.40.0", "", "P1^^^&1.2.40.0&ISO^PI"),
    ],
)
def test_patient_id_names_its_assigning_authority(issuer: str, configured: str, field: str) -> None:
    study = a_study(Patient(patient_id="P1", issuer=issuer, name="Doe"))

    message = parsed(a_draft(study=study), destination(assigning_authority=configured))

    assert str(message["PID"][0][3]) == field


@pytest.mark.parametrize(("line_break", "value"), [(LineBreak.BR, "a\\.br\\b"), (LineBreak.HEX, "a\\X0D0A\\b")])
def test_line_break_in_a_text_is_written_as_the_destination_wants(line_break: LineBreak, value: str) -> None:
    rows = observations(parsed(a_draft(sentences=("a\nb",)), destination(line_break=line_break)), "TX")

    assert str(rows[-1][5]) == value


def test_line_break_as_repetition_gives_two_repetitions() -> None:
    rows = observations(parsed(a_draft(sentences=("a\r\nb",)), destination(line_break=LineBreak.REPEAT)), "TX")

    assert [str(part) for part in rows[-1][5]] == ["a", "b"]


def test_rendering_moment_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the naive moment is what is tested

    with pytest.raises(ValueError, match="zone"):
        build_oru(a_draft(rendered_at=naive), destination())


def test_no_clock_or_file_is_read() -> None:
    study = a_study(images=(type(a_study().images[0])(header=a_study().images[0].header, path=Path("/nowhere")),))

    assert build_oru(a_draft(study=study), destination()) == build_oru(a_draft(), destination())
