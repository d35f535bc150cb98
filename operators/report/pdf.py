"""The readable companion: content and envelope enter, a PDF of one or two pages leaves, the same bytes every time."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from reportlab.lib.colors import HexColor, white
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, KeepTogether, PageTemplate, Paragraph, Spacer, Table

from models.shared.codes import code
from operators.domain.drafts import DocumentKind
from operators.domain.messages import ChangeState, EntityFinding, Image, Presence, ReadScope, Study
from operators.report.config import PageSize
from operators.report.content import FindingGroup, NarrativeSentence, ReportContent, dated
from operators.report.envelope import Envelope
from operators.report.figure import Views, current_outlines, prior_outlines, view_of
from operators.report.node import MANUFACTURER
from operators.report.page import (
    BAND_PT,
    FAINT,
    FOOTER_PT,
    MARGIN_PT,
    RULE,
    MarkedCanvas,
    paper_pt,
    style,
)
from operators.report.typeface import REGULAR, markup, person_name

_STATE_COLOURS = {
    ChangeState.NEW: "#A61B1B",
    ChangeState.WORSE: "#A61B1B",
    ChangeState.RESOLVED: "#17663A",
    ChangeState.BETTER: "#17663A",
    ChangeState.STABLE: "#1D4E89",
    ChangeState.UNDETERMINED: "#7A5B00",
    ChangeState.ABSENT: "#5B5B5B",
}
_STATE_WORDS = {
    ChangeState.NEW: "NEW",
    ChangeState.WORSE: "WORSE",
    ChangeState.RESOLVED: "RESOLVED",
    ChangeState.BETTER: "BETTER",
    ChangeState.STABLE: "NO CHANGE",
    ChangeState.UNDETERMINED: "UNDETERMINED",
    ChangeState.ABSENT: "ABSENT",
}
_FIGURE_SHARE = 0.40
_CALIBRATED = "Numbers in brackets are the model's calibrated probability that the finding is present."
_UNMEASURED = (
    "Nobody has measured what this model says on patients held out from its training. It states no finding here; what "
    "it finds similar in other patients is shown on the node's page alone."
)
_OF_AN_IMAGE = (
    "A model answered, for each finding of a fixed list, how probable it is that the finding can be seen on one "
    "image of each study; it read no other image, no report and no clinical information."
)
_OF_A_SERIES = (
    "A model answered, for each finding of a fixed list, how probable it is that the finding can be seen in one "
    "series of each study, read as a volume; it read no other series, no report and no clinical information. What it "
    "points to has no depth: the slice shown stands for the whole volume."
)
_LIMITS = (
    "An outline is where the "
    "model looked for its answer, not the border of a lesion, and it measures nothing; an answer drawn from all over "
    "the image has no one place and no outline. A change is stated only when "
    "exchanging the two images turns the answer round; what does not, or is not clear enough, is undetermined. A "
    "finding that is not listed was not looked for, or this model was never measured on it."
)


def render_pdf(content: ReportContent, envelope: Envelope, size: PageSize) -> bytes:
    """Return the PDF.

    Raises PermanentError: SPOOL_FILE_MISSING when an image's file is gone, DECODE_FAILED when it cannot be shown.
    """
    width_pt, height_pt = paper_pt(size)
    room_pt = width_pt - 2 * MARGIN_PT
    buffer = BytesIO()
    document = BaseDocTemplate(buffer, pagesize=(width_pt, height_pt), invariant=1, **_facts(content))
    frame = Frame(
        MARGIN_PT, FOOTER_PT, room_pt, height_pt - BAND_PT - FOOTER_PT - 8, *(0, 0, 0, 0), id="sheet", showBoundary=0
    )
    document.addPageTemplates(PageTemplate(frames=[frame]))
    story = [*_story(content, envelope, room_pt, height_pt)]
    document.build(story, canvasmaker=_canvas_maker(content))
    return buffer.getvalue()


def _facts(content: ReportContent) -> dict[str, Any]:
    """Document information of the PDF: what it is, never whose it is."""
    bundle = content.comparison.bundle
    return {
        "title": "Draft comparison (not verified)",
        "author": f"{MANUFACTURER}, model {bundle.name} {bundle.version}",
        "subject": "Machine-written draft for a radiologist",
        "creator": MANUFACTURER,
        "lang": "en",
    }


def _canvas_maker(content: ReportContent) -> type[MarkedCanvas]:
    current = content.comparison.current
    running = f"Patient ID {current.patient.patient_id}   Accession {current.accession_number or 'none'}"

    class Sheet(MarkedCanvas):
        footer = f"{running}   Study of {dated(current.study_date)}"

    return Sheet


def _story(content: ReportContent, envelope: Envelope, room_pt: float, height_pt: float) -> Iterator[Flowable]:
    title = "Draft comparison with the prior study" if content.is_compared else "Draft reading without a comparison"
    yield Paragraph(markup(title, bold=True), style(15, bold=True, space_after_pt=4))
    yield _who_and_when(content, envelope, room_pt)
    yield Spacer(0, 7)
    yield from _summary(content)
    yield Spacer(0, 5)
    yield _figure(content, room_pt, height_pt * _FIGURE_SHARE)
    yield Spacer(0, 7)
    if content.groups:
        yield _findings_table(content, room_pt)
    else:
        yield Paragraph(markup(_UNMEASURED, bold=True), style(9, bold=True))
    yield Spacer(0, 6)
    yield from _not_seen(content)
    yield KeepTogether([*_fine_print(content, envelope)])


def _who_and_when(content: ReportContent, envelope: Envelope, room_pt: float) -> Table:
    current, prior = content.comparison.current, content.comparison.prior
    patient = current.patient
    identity = f"{patient.patient_id} ({patient.issuer})" if patient.issuer else patient.patient_id
    rows = [
        ("Patient", person_name(patient.name) or "no name", "Current study", _when(current)),
        ("Patient ID", identity or "none", "", _what(current)),
        ("Born, sex", f"{dated(patient.birth_date)}, {patient.sex or 'unknown'}", "Prior study", _prior_when(prior)),
        ("Accession", current.accession_number or "none", "", _what(prior) if prior else ""),
        ("Referred by", person_name(current.referring_physician) or "not stated", "Draft written", _written(envelope)),
    ]
    cells = [
        [_small(left), _value(said, bold=row == 0), _small(right), _value(told)]
        for row, (left, said, right, told) in enumerate(rows)
    ]
    columns = [room_pt * share for share in (0.12, 0.36, 0.14, 0.38)]
    return Table(
        cells,
        colWidths=columns,
        style=[
            *_tight(1.2),
            ("LINEABOVE", (0, 0), (-1, 0), 0.7, RULE),
            ("LINEBELOW", (0, -1), (-1, -1), 0.7, RULE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ],
    )


def _written(envelope: Envelope) -> str:
    """When, and that a later draft takes the place of what the archive may still show beside it."""
    revision = int(envelope.comparison.current.revision)
    replaces = f", revision {revision}: replaces the earlier draft" if revision > 1 else ""
    return f"{envelope.local_moment:%Y-%m-%d %H:%M %z}{replaces}"


def _when(study: Study) -> str:
    time = study.study_time
    return f"{dated(study.study_date)} {time[:2]}:{time[2:4]}" if len(time) >= 4 else dated(study.study_date)


def _prior_when(prior: Study | None) -> str:
    return _when(prior) if prior else "none compared"


def _what(study: Study) -> str:
    said = study.study_description or study.requested_procedure
    return f"{'/'.join(study.modalities)}  {said}".strip()


def _summary(content: ReportContent) -> Iterator[Flowable]:
    """Sentences in their order, each with the numbers of the findings it rests on; absences come later.

    What was compared, or that nothing was, comes first; what else is said of the comparison is small.
    """
    circumstances = [sentence.text for sentence in content.narrative if not sentence.groups and not sentence.silent]
    first, *others = circumstances or [content.comparison_sentence]
    yield Paragraph(markup(first, bold=not content.is_compared), style(9, space_after_pt=2.5))
    if others:
        yield Paragraph(markup(" ".join(others)), style(7.5, colour=FAINT, space_after_pt=3.5))
    for sentence in content.narrative:
        if sentence.groups:
            yield Paragraph(_sentence(sentence), style(9, space_after_pt=2.5))


def _sentence(sentence: NarrativeSentence) -> str:
    numbers = ", ".join(str(group.number) for group in sentence.groups)
    return f"{markup(sentence.text)} {markup(f'[{numbers}]', bold=True)}"


def _figure(content: ReportContent, room_pt: float, most_pt: float) -> Views:
    comparison = content.comparison
    current = comparison.current_image
    scope, earlier = comparison.current_scope, comparison.prior_scope
    caption = _caption("Current", comparison.current, current, scope)
    views = [view_of(current, caption, current_outlines(content), scope.frame_number)]
    if comparison.prior is not None and comparison.prior_image is not None:
        prior = comparison.prior_image
        caption = _caption("Prior", comparison.prior, prior, earlier)
        views.append(view_of(prior, caption, prior_outlines(content), earlier.frame_number))
    return Views(views, width_pt=room_pt, most_pt=most_pt)


def _caption(which: str, study: Study, image: Image, scope: ReadScope) -> str:
    frame = f"frame {scope.frame_number} of {image.header.frames}" if image.header.frames > 1 else ""
    slices = f"one of {scope.slices} slices" if scope.slices else ""
    facts = [which, _when(study), image.header.modality, image.header.view_position, frame, slices]
    return "   ".join(fact for fact in facts if fact)


def _findings_table(content: ReportContent, room_pt: float) -> Table:
    heads = ["", "Finding, site", "Change", "Current image", "Prior image"]
    shares = [0.05, 0.37, 0.18, 0.20, 0.20]
    if not content.is_compared:
        heads, shares = ["", "Finding, site", "Image"], [0.05, 0.65, 0.30]
    cells = [[Paragraph(markup(head, bold=True), style(7.5, bold=True, colour=white)) for head in heads]]
    cells += [_row(group, is_compared=content.is_compared) for group in content.groups]
    return Table(
        cells,
        colWidths=[room_pt * share for share in shares],
        repeatRows=1,
        style=[
            *_tight(2.0),
            ("BACKGROUND", (0, 0), (-1, 0), HexColor("#3A3A3A")),
            ("LINEBELOW", (0, 1), (-1, -1), 0.4, RULE),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ],
    )


def _row(group: FindingGroup, *, is_compared: bool) -> list[Paragraph]:
    finding = group.finding
    name, site = _name_and_site(finding)
    cells = [
        Paragraph(markup(str(group.number), bold=True), style(8.5, bold=True)),
        Paragraph(f"{markup(name, bold=True)}{markup(', ' + site)}", style(8.5)),
    ]
    now = Paragraph(markup(_presence(finding.current, finding.stated_prob)), style(8.5))
    if not is_compared:
        return [*cells, now]
    return [*cells, _change(group.change), now, Paragraph(markup(_on_prior(finding)), style(8.5))]


def _name_and_site(finding: EntityFinding) -> tuple[str, str]:
    """Return finding and site by the meanings of their codes."""
    name, site = code(finding.entity.finding_code).meaning, code(finding.entity.site_code).meaning
    return f"{name[:1].upper()}{name[1:]}", site.lower()


def _change(change: ChangeState | None) -> Paragraph:
    if change is None:
        return Paragraph("", style(8))
    return Paragraph(
        markup(_STATE_WORDS[change], bold=True), style(8, bold=True, colour=HexColor(_STATE_COLOURS[change]))
    )


def _on_prior(finding: EntityFinding) -> str:
    if finding.prior is None or finding.prior_prob is None:
        return "not read"
    return _presence(finding.prior, finding.prior_prob)


def _presence(presence: Presence, prob: float) -> str:
    return f"{presence.value}  ({prob:.2f})"


def _not_seen(content: ReportContent) -> Iterator[Flowable]:
    if not content.silent:
        return
    names = [f"{', '.join(_name_and_site(finding))} {finding.stated_prob:.2f}" for finding in content.silent]
    where = "on either image" if content.is_compared else "on the image"
    head = markup(f"Looked for and not seen {where}: ", bold=True)
    yield Paragraph(head + markup("; ".join(names)) + ".", style(8, space_after_pt=6))


def _fine_print(content: ReportContent, envelope: Envelope) -> Iterator[Flowable]:
    bundle, node = content.comparison.bundle, envelope.node
    where = f" at {node.institution}" if node.institution else ""
    lines = (
        _how_to_read(content),
        f"Images are reduced copies for orientation, not for diagnosis; where outlines would hide one another, only "
        f"some are drawn, and the structured report holds them all. Model {bundle.name} {bundle.version}, SHA-256 "
        f"{bundle.sha256[:16]}…; node {node.ae_title}{where}, software {node.software_version}. Structured report "
        f"{envelope.identity.instance_uid(DocumentKind.SR)}, revision {content.comparison.current.revision}.",
    )
    for line in lines:
        yield Paragraph(markup(line), style(7, colour=FAINT, space_after_pt=2.5))


def _how_to_read(content: ReportContent) -> str:
    what = _OF_A_SERIES if content.comparison.current_scope.slices else _OF_AN_IMAGE
    return f"{_CALIBRATED} {what} {_LIMITS}" if content.groups else what


def _small(text: str) -> Paragraph:
    return Paragraph(markup(text), style(7.5, colour=FAINT))


def _value(text: str, *, bold: bool = False) -> Paragraph:
    return Paragraph(markup(text, bold=bold), style(8.5, bold=bold))


def _tight(padding_pt: float) -> list[tuple[Any, ...]]:
    """Return a table style with narrow cells, in our font: reportlab would name its own, which is not embedded."""
    sides = ("LEFTPADDING", "RIGHTPADDING", "TOPPADDING", "BOTTOMPADDING")
    paddings = [(side, (0, 0), (-1, -1), padding_pt if side.startswith(("TOP", "BOT")) else 3) for side in sides]
    return [("FONTNAME", (0, 0), (-1, -1), REGULAR), *paddings]
