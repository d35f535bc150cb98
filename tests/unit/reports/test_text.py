"""Sections and sentences of a report's text."""

import pytest

from models.reports.lexicon import load_lexicon
from models.reports.parser import UnknownModalityError, parse_report
from models.reports.statements import SectionKind, Span
from models.reports.text import split_sections, split_sentences

_REPORT = """INDICATION: Cough, rule out pneumonia.
COMPARISON: Film of last year showed an effusion.
TECHNIQUE: PA and lateral.
FINDINGS: The heart is enlarged.
IMPRESSION:
1. Cardiomegaly.
2. No effusion."""


def sentences(text: str) -> list[str]:
    whole = Span(start=0, end=len(text))
    return [span.of(text) for span in split_sentences(text, whole, load_lexicon().abbreviations)]


def test_only_findings_and_impression_make_statements() -> None:
    said = parse_report(_REPORT)
    assert [(one.section, one.finding, one.presence) for one in said] == [
        ("findings", "cardiomegaly", "present"),
        ("impression", "cardiomegaly", "present"),
        ("impression", "pleural effusion", "absent"),
    ]


def test_text_without_headings_is_read() -> None:
    (said,) = parse_report("Cardiomegaly.")
    assert said.section is SectionKind.NONE


def test_a_label_inside_a_section_is_no_heading() -> None:
    text = "FINDINGS: Lungs: clear. Pleura: no effusion."
    assert [section.kind for section in split_sections(text, load_lexicon().headings)] == [SectionKind.FINDINGS]
    assert {one.presence for one in parse_report(text)} == {"absent"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A nodule of 3.5 mm. No effusion.", ["A nodule of 3.5 mm.", "No effusion."]),
        ("Nodule of approx. 2 cm in the lt. lung.", ["Nodule of approx. 2 cm in the lt. lung."]),
        ("Scar at the apex.There is no effusion.", ["Scar at the apex.", "There is no effusion."]),
        ("1. Atelectasis.\n2. No pneumonia.", ["Atelectasis.", "No pneumonia."]),
        ("- no effusion\n- no edema", ["no effusion", "no edema"]),
        ("Scar at the left base\nHeart normal", ["Scar at the left base", "Heart normal"]),
        ("Opacity in the\nright lower lobe.", ["Opacity in the\nright lower lobe."]),
        ("Seen by Dr. Example. Lungs clear", ["Seen by Dr. Example.", "Lungs clear"]),
        ("Effusion on the left; edema.", ["Effusion on the left;", "edema."]),
        (" \n . 12. \n", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_span_gives_the_words_of_the_finding() -> None:
    text = "FINDINGS:  Small  pleural   effusion."
    (said,) = parse_report(text)
    assert said.span.of(text) == "pleural   effusion"


@pytest.mark.parametrize(
    ("modality", "sentence", "index"),
    [
        ("3D-CT", "Fatty liver.", 129),
        ("3D-CT", "Nodule in the right upper lobe.", 102),
        ("3D-Brain-MRI", "Acute infarct in the left frontal lobe.", 223),
        ("2D-Ultrasound", "Nodule in the right lobe of the thyroid.", 301),
    ],
)
def test_entities_are_those_of_the_modality(modality: str, sentence: str, index: int) -> None:
    assert {one.entity_index for one in parse_report(sentence, modality=modality)} == {index}
    assert all(one.entity_index != index for one in parse_report(sentence))


def test_an_unknown_modality_is_refused() -> None:
    with pytest.raises(UnknownModalityError, match="known: 2D-CXR"):
        parse_report("Cardiomegaly.", modality="PET")
