"""The two images with their evidence: an image file and numbered outlines enter, a drawing for the page leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Picture
from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable

from models.shared.pixels import PixelError, read_file_frame
from operators.domain.errors import PermanentError
from operators.domain.messages import ChangeState, Image, Presence, Region
from operators.domain.reasons import ReasonCode
from operators.report.content import FindingGroup, ReportContent
from operators.report.page import ALARM, DRAFT_MARK
from operators.report.typeface import BOLD, REGULAR, font_runs

OUTLINE_COLOURS = {
    ChangeState.NEW: "#FF6B5E",
    ChangeState.WORSE: "#FF6B5E",
    ChangeState.RESOLVED: "#4FD885",
    ChangeState.BETTER: "#4FD885",
    ChangeState.STABLE: "#66B2FF",
    ChangeState.UNDETERMINED: "#FFD24A",
    ChangeState.ABSENT: "#C8C8C8",
}
_LONGEST_SIDE_PX = 1024
_JPEG_QUALITY = 92
_MOST_OUTLINES = 10
_NOWHERE_FROM_SHARE = 0.5
_FEW_OUTLINES = 6
_TAG_PT = 11.0
_CAPTION_PT = 8.5
_MARK_PT = 6.5
_GAP_PT = 10.0
_CAPTION_HEIGHT_PT = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One numbered rectangle on an image; dashed where the finding is undetermined."""

    number: int
    region: Region
    colour: str
    is_dashed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One image as the page shows it: an 8-bit JPEG, the size of the frame it was made of, caption and outlines.

    `unfocused` are the numbers of findings whose evidence is spread over half of the image or more: an outline there
    would claim a place that the model does not name. `elsewhere` are those of findings whose evidence lies on another
    slice or frame than the one shown.
    """

    jpeg: bytes
    columns: int
    rows: int
    caption: str
    outlines: tuple[Outline, ...]
    unfocused: tuple[int, ...] = ()
    elsewhere: tuple[int, ...] = ()


def view_of(image: Image, caption: str, outlines: Sequence[Outline], frame_number: int = 1) -> View:
    """Return the view of one frame of an image: windowed as its header says, with the outlines that lie on it.

    Raises PermanentError: SPOOL_FILE_MISSING when the file is gone, DECODE_FAILED when it cannot be shown.
    """
    try:
        frame = read_file_frame(image.path, frame_number - 1)
    except FileNotFoundError as exc:
        raise PermanentError(ReasonCode.SPOOL_FILE_MISSING) from exc
    except PixelError as exc:
        raise PermanentError(ReasonCode.DECODE_FAILED, kind=exc.code.value) from exc
    place = (image.header.instance_uid, frame_number)
    shown = tuple(one for one in outlines if (one.region.instance_uid, one.region.frame_number) == place)
    spread = tuple(one for one in shown if _share(one.region, frame.columns * frame.rows) >= _NOWHERE_FROM_SHARE)
    return View(
        jpeg=_jpeg(frame.pixels),
        columns=frame.columns,
        rows=frame.rows,
        caption=caption,
        outlines=tuple(one for one in shown if one not in spread),
        unfocused=tuple(one.number for one in spread),
        elsewhere=tuple(one.number for one in outlines if one not in shown),
    )


def runs(numbers: Sequence[int]) -> str:
    """Return ascending numbers in few characters: 1, 3-5."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ends)


def _share(region: Region, frame_px: int) -> float:
    return (region.right_px - region.left_px) * (region.bottom_px - region.top_px) / frame_px


def current_outlines(content: ReportContent) -> list[Outline]:
    """Outlines of the current image: the evidence of the groups that speak of it."""
    speaking = [group for group in content.groups if not group.is_on_prior and not group.is_whole_image]
    return _legible([_outline(group, group.region) for group in speaking])


def prior_outlines(content: ReportContent) -> list[Outline]:
    """Outlines of the prior: what is no longer seen, and what was seen there too."""
    regions = [
        (group, group.region if group.is_on_prior else group.previous_region)
        for group in content.groups
        if not group.is_whole_image
    ]
    return _legible([_outline(group, region) for group, region in regions if region is not None])


def _legible(outlines: list[Outline]) -> list[Outline]:
    """Keep as many as can be told apart: the determined ones first, undetermined ones only among few."""
    firm = [one for one in outlines if not one.is_dashed][:_MOST_OUTLINES]
    open_ones = [one for one in outlines if one.is_dashed][: max(0, _FEW_OUTLINES - len(firm))]
    return sorted([*firm, *open_ones], key=lambda one: one.number)


def _outline(group: FindingGroup, region: Region) -> Outline:
    is_open = group.change is ChangeState.UNDETERMINED or group.finding.current is Presence.UNDETERMINED
    state = group.change or (ChangeState.UNDETERMINED if is_open else ChangeState.STABLE)
    return Outline(number=group.number, region=region, colour=OUTLINE_COLOURS[state], is_dashed=is_open)


def _jpeg(pixels: Any) -> bytes:
    picture = Picture.fromarray(np.rint(pixels * 255).astype(np.uint8))
    picture.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), Picture.Resampling.LANCZOS)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


class Views(Flowable):  # type: ignore[misc] # reportlab ships no types
    """Views side by side, each with its caption above; alone, a view takes the middle.

    As high as the tallest view needs, at most `most_pt`. Each carries the draft mark, so that it keeps it when cut out.
    """

    def __init__(self, views: Sequence[View], *, width_pt: float, most_pt: float) -> None:
        super().__init__()
        self.views = views
        self._cell_pt = (width_pt - _GAP_PT) / 2
        tallest_pt = max(self._cell_pt * view.rows / view.columns for view in views)
        self.width, self.height = width_pt, min(most_pt, tallest_pt + _CAPTION_HEIGHT_PT)

    def wrap(self, available_width: float, available_height: float) -> tuple[float, float]:
        """Return the size the flowable takes."""
        del available_width, available_height
        return self.width, self.height

    def draw(self) -> None:
        """Draw the views at the flowable's origin."""
        start_pt = 0.0 if len(self.views) > 1 else (self.width - self._cell_pt) / 2
        for index, view in enumerate(self.views):
            self._draw_view(view, start_pt + index * (self._cell_pt + _GAP_PT))

    def _draw_view(self, view: View, left_pt: float) -> None:
        width_pt, room_pt = self._cell_pt, self.height - _CAPTION_HEIGHT_PT
        scale = min(width_pt / view.columns, room_pt / view.rows)
        shown_width_pt, shown_height_pt = view.columns * scale, view.rows * scale
        self.canv.setFillColor(black)
        self.canv.rect(left_pt, 0, width_pt, room_pt, stroke=0, fill=1)
        x_pt, y_pt = left_pt + (width_pt - shown_width_pt) / 2, (room_pt - shown_height_pt) / 2
        self.canv.drawImage(ImageReader(BytesIO(view.jpeg)), x_pt, y_pt, width=shown_width_pt, height=shown_height_pt)
        self._draw_caption(view.caption, left_pt)
        taken: list[tuple[float, float]] = []
        for outline in view.outlines:
            self._draw_outline(outline, (x_pt, y_pt + shown_height_pt), scale, taken)
        self._draw_mark(x_pt, y_pt)
        self._draw_undrawn(_undrawn(view), x_pt + shown_width_pt, y_pt)

    def _draw_mark(self, left_pt: float, bottom_pt: float) -> None:
        width_pt = stringWidth(DRAFT_MARK, BOLD, _MARK_PT) + 6
        self.canv.setFillColor(ALARM)
        self.canv.rect(left_pt, bottom_pt, width_pt, _MARK_PT + 4, stroke=0, fill=1)
        self.canv.setFillColor(white)
        self.canv.setFont(BOLD, _MARK_PT)
        self.canv.drawString(left_pt + 3, bottom_pt + 3.2, DRAFT_MARK)

    def _draw_caption(self, caption: str, left_pt: float) -> None:
        writer = self.canv.beginText(left_pt, self.height - _CAPTION_PT)
        writer.setFillColor(HexColor("#1F1F1F"))
        for font, part in font_runs(caption, bold=True):
            writer.setFont(font, _CAPTION_PT)
            writer.textOut(part)
        self.canv.drawText(writer)

    def _draw_undrawn(self, text: str, right_pt: float, bottom_pt: float) -> None:
        if not text:
            return
        width_pt = stringWidth(text, REGULAR, _MARK_PT) + 6
        self.canv.setFillColor(black)
        self.canv.rect(right_pt - width_pt, bottom_pt, width_pt, _MARK_PT + 4, stroke=0, fill=1)
        self.canv.setFillColor(white)
        self.canv.setFont(REGULAR, _MARK_PT)
        self.canv.drawString(right_pt - width_pt + 3, bottom_pt + 3.2, text)

    def _draw_outline(
        self, outline: Outline, corner_pt: tuple[float, float], scale: float, taken: list[tuple[float, float]]
    ) -> None:
        """Draw one rectangle and its number; `corner_pt` is the image's top left corner on the page."""
        region = outline.region
        left, top = corner_pt[0] + region.left_px * scale, corner_pt[1] - region.top_px * scale
        width, height = (region.right_px - region.left_px) * scale, (region.bottom_px - region.top_px) * scale
        self.canv.saveState()
        for colour, line_pt in ((black, 2.6), (HexColor(outline.colour), 1.3)):
            self.canv.setStrokeColor(colour)
            self.canv.setLineWidth(line_pt)
            self.canv.setDash(*([4, 3] if outline.is_dashed else [1, 0]))
            self.canv.rect(left, top - height, width, height, stroke=1, fill=0)
        self.canv.restoreState()
        self._draw_tag(outline, _free_spot((left, top - _TAG_PT), taken))

    def _draw_tag(self, outline: Outline, spot_pt: tuple[float, float]) -> None:
        width_pt = _TAG_PT if outline.number < 10 else _TAG_PT * 1.5
        self.canv.setFillColor(HexColor(outline.colour))
        self.canv.rect(*spot_pt, width_pt, _TAG_PT, stroke=0, fill=1)
        self.canv.setFillColor(black)
        self.canv.setFont(BOLD, _TAG_PT - 3)
        self.canv.drawCentredString(spot_pt[0] + width_pt / 2, spot_pt[1] + 2.6, str(outline.number))


def _undrawn(view: View) -> str:
    """Say which findings have no outline here, and why."""
    told = (("no one place", view.unfocused), ("on another slice", view.elsewhere))
    return "; ".join(f"{why}: {runs(numbers)}" for why, numbers in told if numbers)


def _free_spot(wanted_pt: tuple[float, float], taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Move a tag right until it covers no other tag."""
    x_pt, y_pt = wanted_pt
    step_pt = _TAG_PT * 1.5 + 1
    while any(abs(x_pt - x) < step_pt and abs(y_pt - y) < _TAG_PT + 1 for x, y in taken):
        x_pt += step_pt
    taken.append((x_pt, y_pt))
    return x_pt, y_pt
