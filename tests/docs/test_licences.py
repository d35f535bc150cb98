"""Licences: no GPL in what serving needs, and the page names what requirements.txt pins."""

import pytest

from deploy.docs.licences import is_copyleft, packages, requirements
from tests.docs.pages import ROOT

PAGE = (ROOT / "deploy" / "docs" / "licences.md").read_text(encoding="utf-8")


def test_nothing_that_serving_needs_is_under_the_gpl() -> None:
    found = packages()
    assert len(found) > 40
    assert [(package.name, package.licence) for package in found if is_copyleft(package.licence)] == []


def test_every_licence_is_known() -> None:
    assert [package.name for package in packages() if package.licence in {"not stated", "LICENSE"}] == []


@pytest.mark.parametrize("requirement", list(map(str, requirements())))
def test_the_page_names_every_requirement_with_its_pin(requirement: str) -> None:
    name, _, version = requirement.partition("==")
    plain = name.split("[")[0].lower().replace("_", "-")
    assert f"| {plain} | {version} |" in PAGE


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("GPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0-only", True),
        ("GNU Affero General Public License v3", True),
        ("LGPL-3.0-only", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("MIT", False),
    ],
)
def test_gpl_is_told_from_lgpl(licence: str, expected: bool) -> None:
    assert is_copyleft(licence) is expected
