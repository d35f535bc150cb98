"""Person names: a DICOM PN enters, HL7 name components leave, one list per spelling.

PN (PS3.5 6.2.1) has up to three groups, alphabetic, ideographic, phonetic, each family^given^middle^prefix^suffix.
XPN (HL7 v2.5.1 2.A.89) is family^given^further given^suffix^prefix; its component 8 tells the representation.
"""

from dataclasses import dataclass

from operators.domain.hl7.charsets import CharacterSet, fit

_REPRESENTATION_CODES = ("A", "I", "P")  # HL7 table 0465: alphabetic, ideographic, phonetic


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """One group of a PN in the order of XPN (family, given, further given, suffix, prefix), and which group it is."""

    representation: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedName:
    """The spellings that a character set carries, how many were left out, how many characters stand by number."""

    spellings: tuple[Spelling, ...]
    left_out: int
    numbered: int


def spellings(person_name: str) -> tuple[Spelling, ...]:
    """Return the groups of a PN that say something, alphabetic first."""
    found = []
    for representation, group in zip(_REPRESENTATION_CODES, person_name.split("="), strict=False):
        family, given, middle, prefix, suffix = (*(part.strip() for part in group.split("^")), "", "", "", "", "")[:5]
        parts = (family, given, middle, suffix, prefix)
        if any(parts):
            found.append(Spelling(representation=representation, parts=parts))
    return tuple(found)


def fit_name(person_name: str, charset: CharacterSet) -> FittedName:
    """Choose the spellings that fit; when none does, all are kept with the characters that do not fit by number."""
    every = spellings(person_name)
    fitted = [(spelling, [fit(part, charset) for part in spelling.parts]) for spelling in every]
    clean = [entry for entry in fitted if not any(part.numbered for part in entry[1])]
    chosen = clean or fitted
    return FittedName(
        spellings=tuple(
            Spelling(representation=spelling.representation, parts=tuple(part.text for part in parts))
            for spelling, parts in chosen
        ),
        left_out=len(every) - len(chosen),
        numbered=sum(part.numbered for _, parts in chosen for part in parts),
    )
