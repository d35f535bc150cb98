"""The pages that people read: every Markdown file of the repository, and what can be found in it."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_TARGET = re.compile(r"(?:`|^\s{4,}|\n)make ([a-z][a-z-]*)")
_COMMAND = re.compile(r"python -m app((?: [a-z]+)+)")
_ANCHOR = re.compile(r"[^\w\- ]")


def pages() -> list[Path]:
    """Markdown files of the repository, without what is built or installed beside it."""
    folders = (ROOT / name for name in ("app", "operators", "models", "deploy", "tests"))
    return sorted([*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))])


def texts() -> Iterator[tuple[Path, str]]:
    """Each page with its text."""
    for path in pages():
        yield path, path.read_text(encoding="utf-8")


def relative_links(text: str) -> list[str]:
    """Targets of links that stay within the repository; code blocks hold none."""
    found = _LINK.findall(_FENCE.sub("", text))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def make_targets(text: str) -> set[str]:
    """Names that a page tells its reader to make."""
    return set(_TARGET.findall(text))


def app_commands(text: str) -> list[list[str]]:
    """Words after `python -m app` that a page tells its reader to run."""
    return [words.split() for words in _COMMAND.findall(text)]


def anchors(text: str) -> set[str]:
    """Names of a page's headings, as links to them are written."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {_ANCHOR.sub("", heading.lower()).replace(" ", "-") for heading in headings}
