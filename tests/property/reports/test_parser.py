"""What holds of any text: spans lie inside, blanks do not matter, what is denied is never present."""

import re

from hypothesis import given
from hypothesis import strategies as st

from models.reports.parser import parse_report
from models.reports.statements import Presence, Statement

_VOCABULARY = (
    "no without not or and , ; : . / the left right both lower lobe lung base heart aorta effusion nodule opacity "
    "pneumothorax atelectasis enlarged normal clear new stable improved worse resolved increased possible likely "
    "versus mild large is are has been seen in at with of calcified FINDINGS: INDICATION: 1. 3.5 mm multiple"
)
_WORDS = st.sampled_from(_VOCABULARY.split())
_PHRASES = st.sampled_from(
    ["pleural effusion", "pneumothorax", "consolidation", "atelectasis", "rib fracture", "lymphadenopathy", "nodule"]
)
_DENIALS = st.sampled_from(["No {}.", "There is no {}.", "No evidence of {}.", "Negative for {}.", "{} is not seen."])
_BLANKS = st.sampled_from([" ", "  ", "\t", " \t "])


def said(statement: Statement) -> tuple[object, ...]:
    return (
        statement.entity_index,
        statement.finding,
        statement.site,
        statement.side,
        statement.presence,
        statement.change,
        statement.severity,
        statement.section,
        statement.sentence,
    )


@given(st.text(max_size=300))
def test_any_text_is_read_and_spans_lie_inside_it(text: str) -> None:
    for statement in parse_report(text):
        assert 0 <= statement.span.start < statement.span.end <= len(text)


@given(st.lists(_WORDS, max_size=40).map(" ".join))
def test_any_order_of_words_is_read_and_spans_hold_their_words(text: str) -> None:
    for statement in parse_report(text):
        words = statement.span.of(text)
        assert words == words.strip()
        assert words


@given(st.lists(_WORDS, max_size=30).map(" ".join), st.lists(_BLANKS, min_size=1, max_size=30))
def test_the_width_of_blanks_does_not_matter(text: str, blanks: list[str]) -> None:
    count = iter(range(10_000))
    wide = re.sub(" ", lambda _: blanks[next(count) % len(blanks)], text)
    assert [said(one) for one in parse_report(wide)] == [said(one) for one in parse_report(text)]


@given(st.lists(_PHRASES, min_size=1, max_size=4, unique=True), _DENIALS)
def test_what_is_denied_is_never_present(findings: list[str], denial: str) -> None:
    listed = " or ".join([", ".join(findings[:-1]), findings[-1]] if len(findings) > 1 else findings)
    statements = parse_report(denial.format(listed))
    assert len(statements) == len(findings)
    assert {one.presence for one in statements} == {Presence.ABSENT}


@given(
    _PHRASES, st.sampled_from(["Possible {}.", "Cannot exclude {}.", "{} cannot be excluded.", "Suspicious for {}."])
)
def test_what_is_doubted_is_uncertain(finding: str, doubt: str) -> None:
    assert {one.presence for one in parse_report(doubt.format(finding))} == {Presence.UNCERTAIN}


@given(st.lists(_WORDS, max_size=15).map(" ".join))
def test_what_is_only_asked_for_makes_no_statement(words: str) -> None:
    asked = words.replace("FINDINGS:", "").replace("INDICATION:", "")
    assert parse_report(f"INDICATION: {asked}") == ()


@given(st.lists(_WORDS, max_size=20).map(" ".join))
def test_a_sentence_is_read_the_same_wherever_it_stands(words: str) -> None:
    body = re.sub(r"[.;:/,]|FINDINGS|INDICATION|\d", " ", words)
    alone = [said(one)[:-2] for one in parse_report(f"FINDINGS: {body}.")]
    after = [said(one)[:-2] for one in parse_report(f"FINDINGS: Cardiomegaly. {body}.")]
    assert after[1:] == alone
