"""The sheet that a readable companion is printed on: paper, the draft mark on every page, page numbers, text styles."""

from typing import Any, Final

from reportlab import rl_config
from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas

from operators.report.config import PageSize
from operators.report.typeface import BOLD, REGULAR, font_runs, register_fonts

# Streams as they are: text encoding makes a PDF a quarter larger and takes as long as all the rest of drawing it.
rl_config.useA85 = 0

DRAFT_MARK: Final = "DRAFT \N{EM DASH} NOT VERIFIED"
_DRAFT_WORDS: Final = "Written by a machine. Not a report until a radiologist has verified it."
_PAPER: Final = {PageSize.A4: A4, PageSize.LETTER: LETTER}

INK: Final = HexColor("#1F1F1F")
FAINT: Final = HexColor("#5B5B5B")
RULE: Final = HexColor("#C9C9C9")
ALARM: Final = HexColor("#A61B1B")

MARGIN_PT: Final = 36.0
BAND_PT: Final = 25.0
FOOTER_PT: Final = 34.0


def paper_pt(size: PageSize) -> tuple[float, float]:
    """Width and height of the paper in points."""
    width, height = _PAPER[size]
    return float(width), float(height)


def style(size_pt: float, *, bold: bool = False, colour: HexColor = INK, space_after_pt: float = 0.0) -> ParagraphStyle:
    """Return a text style."""
    register_fonts()
    return ParagraphStyle(
        name=f"{size_pt}-{bold}",
        fontName=BOLD if bold else REGULAR,
        fontSize=size_pt,
        leading=size_pt * 1.32,
        textColor=colour,
        spaceAfter=space_after_pt,
    )


class MarkedCanvas(Canvas):  # type: ignore[misc] # reportlab ships no types
    """A canvas that puts the draft mark, the running footer and "page n of m" on every page when all are known.

    `footer` is set by whoever makes the document.
    """

    footer = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        register_fonts()
        super().__init__(*args, **{**kwargs, "initialFontName": REGULAR})
        self._finished: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab calls it by this name
        """Keep the page until the number of pages is known."""
        self._finished.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Mark and write all pages."""
        for number, state in enumerate(self._finished, start=1):
            self.__dict__.update(state)
            self._mark(number, len(self._finished))
            super().showPage()
        super().save()

    def _mark(self, number: int, pages: int) -> None:
        width_pt, height_pt = self._pagesize
        self.setFillColor(ALARM)
        self.rect(0, height_pt - BAND_PT, width_pt, BAND_PT, stroke=0, fill=1)
        self.setFillColor(white)
        self.setFont(BOLD, 13)
        self.drawString(MARGIN_PT, height_pt - BAND_PT + 8, DRAFT_MARK)
        self.setFont(REGULAR, 8)
        self.drawRightString(width_pt - MARGIN_PT, height_pt - BAND_PT + 9, _DRAFT_WORDS)
        self._rule_and_footer(f"Page {number} of {pages}", width_pt)

    def _rule_and_footer(self, page: str, width_pt: float) -> None:
        self.setStrokeColor(RULE)
        self.setLineWidth(0.5)
        self.line(MARGIN_PT, FOOTER_PT - 6, width_pt - MARGIN_PT, FOOTER_PT - 6)
        self.setFillColor(ALARM)
        self.setFont(BOLD, 7)
        self.drawString(MARGIN_PT, FOOTER_PT - 17, DRAFT_MARK)
        self.setFillColor(FAINT)
        writer = self.beginText(MARGIN_PT + 104, FOOTER_PT - 17)
        for font, part in font_runs(self.footer):
            writer.setFont(font, 7)
            writer.textOut(part)
        self.drawText(writer)
        self.setFont(REGULAR, 7)
        self.drawRightString(width_pt - MARGIN_PT, FOOTER_PT - 17, page)
