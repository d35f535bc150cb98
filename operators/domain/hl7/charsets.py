"""Character sets of HL7 table 0211: text enters; text that the set can carry leaves, and what was changed is told.

A character that does not fit is never dropped and never becomes "?". In this order: composed form (a letter and its
accent as one character), a plain spelling of equal meaning (the table below), else its Unicode number, `[U+5C71]`,
which a reader sees and a program can undo. Identifiers are not for changing: `fits` tells whether they can be sent.
"""

import re
import unicodedata
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_PLAIN: Final = MappingProxyType(
    {
        "\N{GREATER-THAN OR EQUAL TO}": ">=",
        "\N{LESS-THAN OR EQUAL TO}": "<=",
        "\N{PLUS-MINUS SIGN}": "+/-",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{MINUS SIGN}": "-",
        "\N{RIGHTWARDS ARROW}": "->",
        "\N{LEFTWARDS ARROW}": "<-",
        "\N{HYPHEN}": "-",
        "\N{NON-BREAKING HYPHEN}": "-",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{DOUBLE LOW-9 QUOTATION MARK}": '"',
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\N{BULLET}": "-",
        "\N{NO-BREAK SPACE}": " ",
        "\N{THIN SPACE}": " ",
        "\N{NARROW NO-BREAK SPACE}": " ",
        "\N{IDEOGRAPHIC SPACE}": " ",
        "\N{MICRO SIGN}": "u",
    }
)

_HALF_WIDTH_KANA = re.compile("[\uff61-\uff9f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class CharacterSet:
    """One entry of table 0211: what MSH-18 and MSH-20 say, the codec, and characters that the codec must not take."""

    name: str
    msh_18: str
    codec: str
    msh_20: str = ""
    forbidden: str = ""

    def carries(self, character: str) -> bool:
        """Whether the set has this character."""
        if character in self.forbidden:
            return False
        try:
            character.encode(self.codec)
        except UnicodeEncodeError:
            return False
        return True


def _single_byte(name: str, codec: str) -> CharacterSet:
    return CharacterSet(name=name, msh_18=name, codec=codec)


# Japanese: ASCII outside, JIS X 0208 inside ISO 2022 escapes, which MSH-18 (second repetition) and MSH-20 announce
# (HL7 v2.5.1 2.15.9.18 and .20). The codec would reach for JIS X 0201 to write a yen sign or an overline, whose bytes
# are those of a backslash and a tilde: they are forbidden.
_ISO_IR87 = CharacterSet(
    name="ISO IR87", msh_18="~ISO IR87", codec="iso2022_jp", msh_20="ISO 2022-1994", forbidden="\u00a5\u203e"
)

CHARACTER_SETS: Final = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            _single_byte("ASCII", "ascii"),
            *(_single_byte(f"8859/{part}", f"iso8859_{part}") for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)),
            _ISO_IR87,
            _single_byte("GB 18030-2000", "gb18030"),
            _single_byte("KS X 1001", "euc_kr"),
            _single_byte("BIG-5", "big5"),
            _single_byte("UNICODE UTF-8", "utf_8"),
        )
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedText:
    """Text that a character set carries, and how many of its characters had to be written by number."""

    text: str
    numbered: int


def fits(text: str, charset: CharacterSet) -> bool:
    """Whether the set carries the text as it is."""
    return all(map(charset.carries, text))


def fit(text: str, charset: CharacterSet) -> FittedText:
    """Make the text one that `charset` carries; see the module's text for how."""
    if fits(text, charset):
        return FittedText(text=text, numbered=0)
    composed = unicodedata.normalize("NFC", _HALF_WIDTH_KANA.sub(_full_width, text))
    # Where the composed form fits no better, as in Unicode itself, the text keeps its own characters.
    helps = any(not charset.carries(character) for character in text if character not in composed)
    pieces = [_fit_character(character, charset) for character in (composed if helps else text)]
    return FittedText(text="".join(piece for piece, _ in pieces), numbered=sum(changed for _, changed in pieces))


def _full_width(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match[0])


def _fit_character(character: str, charset: CharacterSet) -> tuple[str, bool]:
    if charset.carries(character):
        return character, False
    if character in _PLAIN:
        return _PLAIN[character], False
    return f"[U+{ord(character):04X}]", True
