"""Writes the generated parts of the documentation: pages with marked blocks enter, the same pages up to date leave.

    python -m deploy.docs.generate

A block begins with `<!-- generated: NAME -->` and ends with `<!-- end -->`; what stands between is replaced.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.docs import licences, tables

FOLDER = Path(__file__).resolve().parent

BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings": tables.settings_tables,
    "reasons": tables.reasons,
    "prior-decisions": tables.prior_decisions,
    "commands": tables.commands,
    "make-targets": tables.make_targets,
    "pixel-syntaxes": tables.pixel_syntaxes,
    "store-statuses": tables.store_statuses,
    "rejections": tables.rejections,
    "documents": tables.documents,
    "store-outcomes": tables.store_outcomes,
    "qido-attributes": tables.qido_attributes,
    "hl7-answers": tables.hl7_answers,
    "hl7-choices": tables.hl7_choices,
    "hl7-merging-events": tables.hl7_merging_events,
    "hl7-refusals": tables.hl7_refusals,
    "concepts": tables.concepts,
    "licences": licences.licences,
}
_BLOCK = re.compile(r"(<!-- generated: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


FROM_THE_MACHINE = frozenset({"licences"})
"""Blocks that depend on what pip resolved, not on the code alone."""


def rendered(page: str, *, skip: frozenset[str] = frozenset()) -> str:
    """Return a page with its blocks made anew, but for those to skip. Raises KeyError for one that nothing makes."""

    def block(found: re.Match[str]) -> str:
        return found[0] if found[2] in skip else f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}"

    return _BLOCK.sub(block, page)


def pages() -> tuple[Path, ...]:
    """Pages that hold a block."""
    return tuple(path for path in sorted(FOLDER.rglob("*.md")) if _BLOCK.search(path.read_text(encoding="utf-8")))


def main() -> None:
    """Bring all pages up to date."""
    for path in pages():
        path.write_text(rendered(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
