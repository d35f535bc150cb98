"""DICOM values as people read them: a PN, a DA or a list of similar cases enters, what the page shows leaves."""

from collections import defaultdict
from collections.abc import Iterable

from operators.domain.messages import SimilarCase, study_date_of


def shown_name(person_name: str) -> str:
    """Return a PN (PS3.5 6.2.1) for people: each spelling as family, given; further spellings in brackets."""
    spellings = [_spelling(group) for group in person_name.split("=")]
    first, *others = [spelling for spelling in spellings if spelling] or [""]
    return f"{first} ({'; '.join(others)})" if others else first


def shown_day(text: str) -> str:
    """Return a DA as year-month-day; what is no date stays as it is."""
    day = study_date_of(text)
    return day.isoformat() if day else text.strip()


def nearest(similar: Iterable[SimilarCase], count: int) -> dict[int, list[SimilarCase]]:
    """Return the `count` best cases of each entity by the entity's index, best first."""
    by_entity: dict[int, list[SimilarCase]] = defaultdict(list)
    for case in sorted(similar, key=lambda case: case.rank):
        if len(by_entity[case.entity_index]) < count:
            by_entity[case.entity_index].append(case)
    return dict(by_entity)


def _spelling(group: str) -> str:
    family, given, middle, prefix, suffix = (part.strip() for part in [*group.split("^"), "", "", "", ""][:5])
    forenames = " ".join(filter(None, (prefix, given, middle, suffix)))
    return ", ".join(filter(None, (family, forenames)))
