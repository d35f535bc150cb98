"""Any text in any field of an ORU comes back from a parser that did not write it, and never breaks the message."""

import re

import hl7
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.domain.hl7.charsets import CHARACTER_SETS, fit, fits
from operators.domain.hl7.er7 import LineBreak, escape_line
from operators.domain.hl7.framing import BlockBuffer, block
from operators.domain.ids import AccessionNumber
from operators.domain.messages import Patient
from operators.notify.names import fit_name
from operators.notify.oru import build_oru
from tests.unit.notify.drafts import a_draft, a_study, destination

_BREAK = re.compile("\r\n|[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_ESCAPE = re.compile(r"\\(F|S|T|R|E|\.br|X([0-9A-F]{2})+)\\")

# Characters that break naive writers turn up far more often than a uniform draw would give them.
_nasty = st.sampled_from([*"|^~\\&\r\n\x0b\x1c\x1b\x00\x7f\x85=?", "\r\n", "MSH|", "\\.br\\", "\\X0D\\", "\ud800"])
any_text = st.lists(st.characters() | _nasty, max_size=12).map("".join)
any_charset = st.sampled_from(sorted(CHARACTER_SETS))


def _line(text: str) -> str:
    return _BREAK.sub(" ", text)


def _marked(text: str) -> str:
    """What UTF-8 makes of a text: the same, but for lone surrogates, which are no characters."""
    return re.sub("[\ud800-\udfff]", lambda match: f"[U+{ord(match[0]):04X}]", text)


@settings(deadline=None)
@given(sentence=any_text)
def test_any_sentence_survives(sentence: str) -> None:
    content = build_oru(a_draft(sentences=(sentence,), findings=()), destination()).content.decode()

    message = hl7.parse(content)
    value = message.unescape(str(message.segments("OBX")[-1][5]))

    assert value == _BREAK.sub("\r", _marked(sentence))


@settings(deadline=None)
@given(sentence=any_text)
def test_any_sentence_survives_as_repetitions(sentence: str) -> None:
    to = destination(line_break=LineBreak.REPEAT)

    message = hl7.parse(build_oru(a_draft(sentences=(sentence,), findings=()), to).content.decode())
    field = message.segments("OBX")[-1][5]

    assert [message.unescape(str(part)) for part in field] == _BREAK.split(_marked(sentence))


@settings(deadline=None)
@given(accession=any_text, procedure=any_text, patient_id=any_text, issuer=any_text)
def test_any_identifier_survives(accession: str, procedure: str, patient_id: str, issuer: str) -> None:
    accession, procedure, patient_id, issuer = (
        text.encode("utf-8", "ignore").decode() for text in (accession, procedure, patient_id, issuer)
    )
    study = a_study(
        Patient(patient_id=patient_id, issuer=issuer, name="Doe"),
        accession_number=AccessionNumber(accession),
        requested_procedure_id=procedure,
    )

    message = hl7.parse(build_oru(a_draft(study=study), destination()).content.decode())

    order, patient = message["OBR"][0], message["PID"][0]
    assert message.unescape(str(order[18])) == _line(accession)
    assert message.unescape(str(order[19])) == _line(procedure)
    if patient_id:
        assert message.unescape(str(patient[3][0][0])) == _line(patient_id)


@settings(deadline=None)
@given(parts=st.lists(any_text.map(lambda text: text.replace("^", "").replace("=", "")), min_size=5, max_size=5))
def test_any_name_survives_in_its_components(parts: list[str]) -> None:
    study = a_study(Patient(patient_id="P", name="^".join(parts)))

    message = hl7.parse(build_oru(a_draft(study=study), destination()).content.decode())

    family, given_name, middle, prefix, suffix = (_marked(_line(part.strip())) for part in parts)
    row = message["PID"][0]
    if any(part.strip() for part in parts):
        found = [message.unescape(str(part)) for part in row[5][0]]
        assert found[:7] == [family, given_name, middle, suffix, prefix, "", "L"]


@settings(deadline=None)
@given(name=any_text, sentence=any_text, referrer=any_text, charset=any_charset)
def test_no_text_breaks_the_message_in_any_character_set(name: str, sentence: str, referrer: str, charset: str) -> None:
    to = destination(character_set=charset)
    study = a_study(Patient(patient_id="P", name=name), referring_physician=referrer)
    draft = a_draft(study=study, sentences=(sentence,), findings=())

    content = build_oru(draft, to).content

    assert BlockBuffer(1 << 20).feed(block(content)) == [content]
    text = content.decode(to.charset.codec)
    segments = text.split("\r")
    assert segments.pop() == ""
    names = [row.split("|")[0] for row in segments]
    assert [row for row in names if row != "NTE"] == ["MSH", "PID", "PV1", "OBR", *["OBX"] * 8]
    for row in segments[1:]:
        assert "\\" not in _ESCAPE.sub("", row)
    value = segments[-1].split("|")[5]
    assert not set("^~&") & set(value)


@settings(deadline=None)
@given(text=any_text, charset=any_charset)
def test_nothing_is_lost_silently_when_a_text_is_fitted(text: str, charset: str) -> None:
    to = CHARACTER_SETS[charset]

    fitted = fit(text, to)

    assert fits(fitted.text, to)
    assert fitted.text.count("?") == text.count("?")
    written = escape_line(fitted.text)
    assert written.encode(to.codec).decode(to.codec) == written
    assert fitted.numbered == fitted.text.count("[U+") - text.count("[U+")
    if fits(text, to):
        assert fitted.text == text


@settings(deadline=None)
@given(name=any_text, charset=any_charset)
def test_name_keeps_at_least_one_spelling(name: str, charset: str) -> None:
    fitted = fit_name(name, CHARACTER_SETS[charset])

    says_something = any(part.strip() for group in name.split("=")[:3] for part in group.split("^")[:5])
    assert bool(fitted.spellings) == says_something
