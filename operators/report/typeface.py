"""Which font shows which character: text enters, runs of one font each leave, or markup for a reportlab Paragraph.

A name can mix scripts (Yamada^Tarou=山田^太郎), and no free font has them all: each run gets the first font that knows
its characters.
"""

import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

REGULAR: Final = "IntervalSans"
BOLD: Final = "IntervalSans-Bold"
FALLBACK: Final = "IntervalSans-CJK"
_FOLDER = Path(__file__).parent / "fonts"
_FILES = {REGULAR: "DejaVuSans.ttf", BOLD: "DejaVuSans-Bold.ttf", FALLBACK: "DroidSansFallback.ttf"}
_RIGHT_TO_LEFT = frozenset({"R", "AL"})


@cache
def register_fonts() -> None:
    """Make the main fonts known to reportlab, once a process; documents embed the characters they use."""
    for name in (REGULAR, BOLD):
        _known(name)
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)


def font_runs(text: str, *, bold: bool = False) -> list[tuple[str, str]]:
    """Split text into (font name, characters); a character that no font knows stays with the main font."""
    register_fonts()
    main = BOLD if bold else REGULAR
    fonts = [_font_of(char, main) for char in text]
    pairs = zip(fonts, text, strict=True)
    return [(font, "".join(char for _, char in run)) for font, run in groupby(pairs, key=lambda pair: pair[0])]


def markup(text: str, *, bold: bool = False) -> str:
    """Paragraph markup of a text: escaped, each run in its font, line feeds kept."""
    runs = font_runs(in_visual_order(text), bold=bold)
    return "".join(f'<font name="{font}">{escape(part)}</font>' for font, part in runs).replace("\n", "<br/>")


def in_visual_order(text: str) -> str:
    """Turn words of right-to-left scripts into the order they are drawn in; letters are not joined."""
    if not any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text):
        return text
    runs = groupby(text, key=lambda char: unicodedata.bidirectional(char) in _RIGHT_TO_LEFT)
    return "".join("".join(run)[::-1] if is_rtl else "".join(run) for is_rtl, run in runs)


def person_name(value: str) -> str:
    r"""Person name (PS3.5 6.2.1) as people read it: its groups one after another, components by spaces.

    Names of the form Family^Given become "Family, Given" where they are written with letters.
    """
    groups = [group for group in value.split("=") if group.strip("^ ")]
    return "  ".join(_group(group, is_alphabetic=index == 0) for index, group in enumerate(groups))


def _group(group: str, *, is_alphabetic: bool) -> str:
    components = [part.strip() for part in group.split("^")]
    family, others = components[0], " ".join(part for part in components[1:] if part)
    if is_alphabetic and family and others and not any(map(_is_ideographic, group)):
        return f"{family}, {others}"
    return " ".join(part for part in (family, others) if part)


def _is_ideographic(char: str) -> bool:
    return unicodedata.east_asian_width(char) == "W"


@cache
def _known(font: str) -> frozenset[int]:
    """Register a font when it is first asked for (one is large and seldom needed); return the characters it knows."""
    loaded = TTFont(font, _FOLDER / _FILES[font])
    pdfmetrics.registerFont(loaded)
    return frozenset(loaded.face.charToGlyph)


def _font_of(char: str, main: str) -> str:
    if char.isspace() or ord(char) in _known(main) or ord(char) not in _known(FALLBACK):
        return main
    return FALLBACK
