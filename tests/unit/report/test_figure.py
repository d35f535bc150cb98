from dataclasses import replace
from pathlib import Path

import pytest

from operators.domain.errors import PermanentError
from operators.domain.messages import ChangeState, Comparison, Image
from operators.domain.reasons import ReasonCode
from operators.report.content import ReportContent, report_content
from operators.report.figure import current_outlines, prior_outlines, runs, view_of
from operators.report.identity import DraftIdentity
from tests.support.comparisons import comparison, finding, told
from tests.support.drafts import NODE


def content_of(of: Comparison) -> ReportContent:
    return report_content(of, NODE, DraftIdentity(uid_root="2.25", digest="d"))


def test_each_image_carries_the_outlines_of_what_it_shows(tmp_path: Path) -> None:
    content = content_of(comparison(tmp_path))
    state_of = {group.number: group.change for group in content.groups}
    current = {state_of[outline.number] for outline in current_outlines(content)}
    prior = {state_of[outline.number] for outline in prior_outlines(content)}
    assert current == {ChangeState.NEW, ChangeState.STABLE, ChangeState.UNDETERMINED}
    assert prior == {ChangeState.RESOLVED, ChangeState.STABLE, ChangeState.UNDETERMINED}


def test_undetermined_outlines_give_way_when_there_are_many(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    now, before = of.current_image, of.prior_image
    assert before is not None
    one = finding("atelectasis", (now, 0.5), (before, 0.5))
    many = tuple(replace(one, entity=replace(one.entity, index=1000 + number)) for number in range(20))
    outlines = current_outlines(content_of(told(replace(of, findings=(*of.findings, *many)))))
    firm = [outline for outline in outlines if not outline.is_dashed]
    assert len(firm) == 2
    assert len(outlines) == 6


def test_image_that_is_gone_is_named_as_such(tmp_path: Path) -> None:
    image = comparison(tmp_path).current_image
    with pytest.raises(PermanentError) as caught:
        view_of(Image(header=image.header, path=tmp_path / "gone.dcm"), "Current", [])
    assert caught.value.code is ReasonCode.SPOOL_FILE_MISSING


def test_image_that_cannot_be_decoded_is_named_as_such(tmp_path: Path) -> None:
    image = comparison(tmp_path).current_image
    image.path.write_bytes(image.path.read_bytes()[:-50_000])
    with pytest.raises(PermanentError) as caught:
        view_of(image, "Current", [])
    assert caught.value.code is ReasonCode.DECODE_FAILED


def test_evidence_from_all_over_the_image_is_not_outlined_but_named(tmp_path: Path) -> None:
    image = comparison(tmp_path).current_image
    outlines = current_outlines(content_of(comparison(tmp_path)))
    rows, columns = image.header.rows or 0, image.header.columns or 0
    wide = replace(outlines[0].region, left_px=0.0, top_px=0.0, right_px=float(columns), bottom_px=rows * 0.6)
    view = view_of(image, "Current", [replace(outlines[0], region=wide), *outlines[1:]])
    assert view.unfocused == (outlines[0].number,)
    assert view.outlines == tuple(outlines[1:])


@pytest.mark.parametrize(
    ("numbers", "text"), [((), ""), ((1,), "1"), ((1, 2, 4), "1-2, 4"), ((1, 2, 3, 4, 5), "1-5"), ((2, 4), "2, 4")]
)
def test_numbers_in_a_row_are_written_as_a_run(numbers: tuple[int, ...], text: str) -> None:
    assert runs(numbers) == text
