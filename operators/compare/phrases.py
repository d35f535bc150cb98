"""An entity enters, the noun phrase that sentences call it by leaves. The phrases are data: phrases.csv."""

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from operators.domain.messages import EntityTerm

PHRASES_PATH = Path(__file__).with_name("phrases.csv")
_IN_BRACKETS = re.compile(r"\s*\([^)]*\)")
_CAPITALISED = re.compile(r"\b[A-Z](?=[a-z])")


@cache
def load_phrases(path: Path = PHRASES_PATH) -> Mapping[int, str]:
    """Read the table: entity index to noun phrase in lower case, without article."""
    with path.open(encoding="utf-8", newline="") as file:
        return MappingProxyType({int(row["index"]): row["phrase"] for row in csv.DictReader(file)})


def phrase_of(term: EntityTerm) -> str:
    """Noun phrase of an entity; one that is not in the table is called by its own name without its explanations."""
    return load_phrases().get(term.index) or _from_name(term.name)


def _from_name(name: str) -> str:
    """Put a name as words: two names of one thing stand side by side, capitals are left to abbreviations."""
    plain = " ".join(_IN_BRACKETS.sub("", name).replace("_", "/").split())
    return _CAPITALISED.sub(lambda found: found[0].lower(), plain)


def listed(phrases: list[str]) -> str:
    """Join phrases as English does: "a", "a and b", "a, b and c"."""
    if len(phrases) < 2:
        return "".join(phrases)
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"
