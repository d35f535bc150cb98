"""Third-party packages that serving needs, with their licences: requirements.txt enters, rows leave.

Read from the metadata of the installed packages; where that holds no licence, or a class of licences only, what stands
in the package itself is written here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from deploy.docs.tables import table

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"

_BY_HAND = {
    "certifi": "MPL-2.0",
    "jinja2": "BSD-3-Clause",
    "packaging": "Apache-2.0 OR BSD-2-Clause",
    "dicomweb-client": "MIT",
    "reportlab": "BSD-3-Clause",
}
_COPYLEFT = re.compile(r"(?<![A-Z])A?GPL|(?<!LESSER )(?<!LIBRARY )GENERAL PUBLIC", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One installed package. `is_direct`: requirements.txt names it."""

    name: str
    version: str
    licence: str
    is_direct: bool


def packages() -> tuple[Package, ...]:
    """Every package that requirements.txt brings, by name. Raises PackageNotFoundError for one that is missing."""
    direct = {_plain(requirement.name): requirement for requirement in requirements()}
    seen: dict[str, Package] = {}
    pending = list(direct.values())
    while pending:
        requirement = pending.pop()
        name = _plain(requirement.name)
        found = metadata.distribution(name)
        pending += [child for child in _needs(found, requirement.extras) if _plain(child.name) not in seen]
        seen[name] = Package(name=name, version=found.version, licence=_licence(name, found), is_direct=name in direct)
    return tuple(seen[name] for name in sorted(seen))


def requirements() -> Iterator[Requirement]:
    """Return the lines of requirements.txt."""
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            yield Requirement(text)


def is_copyleft(licence: str) -> bool:
    """Whether a licence is the GPL or AGPL; the LGPL, under which a library may be used beside other code, is not."""
    return bool(_COPYLEFT.search(licence))


def licences() -> str:
    """Make the table."""
    rows = (
        (package.name, package.version if package.is_direct else "as resolved", package.licence)
        for package in sorted(packages(), key=lambda package: (not package.is_direct, package.name))
    )
    return table(("package", "version", "licence"), rows)


def _needs(found: metadata.Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in found.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _licence(name: str, found: metadata.Distribution) -> str:
    if name in _BY_HAND:
        return _BY_HAND[name]
    if expression := _said(found, "License-Expression"):
        return expression[0]
    text = "".join(_said(found, "License")).splitlines()
    classes = [value.split(" :: ")[-1] for value in _said(found, "Classifier") if value.startswith("License")]
    return text[0] if text and len(text[0]) <= 40 else ", ".join(classes) or "not stated"


def _said(found: metadata.Distribution, field: str) -> list[str]:
    return found.metadata.get_all(field) or []


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
