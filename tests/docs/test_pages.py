"""What the documentation says is there: links, make targets, commands; and nothing of the machine it was written on."""

import re
from pathlib import Path

import pytest

from deploy.docs.tables import all_commands, all_targets
from tests.docs.pages import ROOT, anchors, app_commands, make_targets, pages, relative_links, texts

_MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|root|home|tmp|Users|workspace)/[\w.-]+")
_ALLOWED_PATHS = frozenset({"/home/interval"})


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_pages_are_found() -> None:
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "deploy/docs/settings.md"} <= {name(path) for path in pages()}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in relative_links(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            dead.append(link)
    assert dead == []


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(all_targets()) <= targets
    unknown = {(name(path), target) for path, text in texts() for target in make_targets(text) - targets}
    assert unknown == set()


def test_every_command_that_is_named_exists() -> None:
    known = {command for command, _, _ in all_commands()}
    families = {command.split()[0] for command in known}
    unknown = [
        (name(path), " ".join(words))
        for path, text in texts()
        for words in app_commands(text)
        if not _is_known(words, known) and words not in [[family] for family in families]
    ]
    assert unknown == []


def _is_known(words: list[str], known: set[str]) -> bool:
    return any(" ".join(words[:count]) in known for count in (1, 2))


def test_commands_and_targets_are_really_looked_for() -> None:
    text = "Run `make nonsense`, then `python -m app studies explode UID`."
    assert make_targets(text) == {"nonsense"}
    assert app_commands(text) == [["studies", "explode"]]
    assert not _is_known(["studies", "explode"], {command for command, _, _ in all_commands()})


def test_no_page_names_a_path_of_the_machine_it_was_written_on() -> None:
    found = {
        (name(path), found)
        for path, text in texts()
        for found in _MACHINE_PATH.findall(text)
        if found not in _ALLOWED_PATHS
    }
    assert found == set()


def test_every_decision_has_a_number_of_its_own() -> None:
    decisions = sorted((ROOT / "deploy" / "docs" / "adr").glob("*.md"))
    numbers = [int(path.name[:4]) for path in decisions]
    assert numbers == list(range(1, len(numbers) + 1))
    for path, number in zip(decisions, numbers, strict=True):
        assert path.read_text(encoding="utf-8").startswith(f"# {number}. "), path.name
