"""Names that later versions will bring: documented as such, and really not there."""

import re

from deploy.docs.tables import all_commands
from tests.docs.pages import ROOT

_PAGE = (ROOT / "deploy" / "docs" / "commands.md").read_text(encoding="utf-8")
_RESERVED = _PAGE.partition("## Reserved for later versions")[2]
_ROWS = "\n".join(re.findall(r"^\| (.*?) \|", _RESERVED, re.MULTILINE)[2:])


def names() -> set[str]:
    return set(re.findall(r"`([^`]+)`", _ROWS))


def test_no_reserved_command_exists() -> None:
    commands = {" ".join(word for word in name.split() if word.islower()) for name in names() if "/" not in name}
    assert {"studies withdraw", "search", "compare"} <= commands
    existing = {command for command, _, _ in all_commands()}
    assert commands & existing == set()
    assert {command.split()[0] for command in commands} & existing == set()


def test_every_route_is_on_the_page_and_no_reserved_one_exists() -> None:
    code = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "app" / "web").glob("*.py")}
    api = {f"/api/v1{path}" for path in re.findall(r'@router\.\w+\(\s*"([^"]+)"', code["api.py"])}
    open_routes = set(re.findall(r'@app\.get\(\s*"([^"]+)"', code["server.py"]))
    listed = set(re.findall(r"^\| `(?:GET|POST) ([^`]+)`", _PAGE, re.MULTILINE))
    assert {path.replace("study_uid", "uid") for path in api} | open_routes | {"/openapi.json"} == listed
    reserved = {name.split()[-1] for name in names() if "/" in name}
    assert reserved == {"/api/v1/search", "/launch"}
    assert reserved & (api | open_routes | set(re.findall(r'@router\.\w+\(\s*"([^"]+)"', code["pages.py"]))) == set()


def test_the_changelog_names_them_too() -> None:
    unreleased = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("### Not in this version")[2]
    missing = {name for name in names() if name.removesuffix(" UID").split()[0] not in unreleased}
    assert missing == set()
