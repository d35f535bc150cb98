from dataclasses import replace
from pathlib import Path

import pytest

from operators.domain.errors import PermanentError
from operators.domain.messages import ChangeState, Comparison, PriorOutcome, Sentence
from operators.domain.reasons import ReasonCode
from operators.report.content import FindingGroup, ReportContent, dated, report_content
from operators.report.identity import DraftIdentity
from tests.support.comparisons import comparison, comparison_without_prior, entity, finding, told, unmeasured
from tests.support.drafts import NODE


def content_of(of: Comparison) -> ReportContent:
    return report_content(of, NODE, DraftIdentity(uid_root="2.25", digest="d"))


def group_of(content: ReportContent, name: str) -> FindingGroup:
    return next(group for group in content.groups if group.finding.entity.index == entity(name).index)


def only(of: Comparison, *names: str) -> Comparison:
    kept = {entity(name).index for name in names}
    return told(replace(of, findings=tuple(f for f in of.findings if f.entity.index in kept)))


def test_what_was_seen_on_neither_image_gets_no_group(tmp_path: Path) -> None:
    content = content_of(comparison(tmp_path))
    grouped = {group.finding.entity.index for group in content.groups}
    assert grouped == {entity(name).index for name in ("consolidation", "effusion", "ground_glass", "atelectasis")}
    assert {f.entity.index for f in content.silent} == {entity("pneumothorax").index, entity("lymph_nodes").index}


def test_what_nobody_measured_gets_no_group_beside_what_was(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    first, *others = unmeasured(of).findings
    content = content_of(told(replace(of, findings=(first, *of.findings[1:]))))
    assert first.entity.index not in {group.finding.entity.index for group in content.groups}
    assert first.entity.index not in {finding.entity.index for finding in content.silent}
    assert content.unassessed is None
    assert others


def test_draft_without_a_measured_entity_speaks_of_the_whole_image(tmp_path: Path) -> None:
    of = unmeasured(comparison(tmp_path))
    content = content_of(of)
    assert (content.groups, content.silent) == ((), ())
    assert content.unassessed is not None
    header = of.current_image.header
    assert content.unassessed.region.instance_uid == header.instance_uid
    assert (content.unassessed.region.right_px, content.unassessed.region.bottom_px) == (header.columns, header.rows)


def test_sentence_on_absences_rests_on_the_silent_findings(tmp_path: Path) -> None:
    content = content_of(comparison(tmp_path))
    sentence = next(s for s in content.narrative if s.silent)
    assert {f.entity.index for f in sentence.silent} == {f.entity.index for f in content.silent}
    assert not sentence.groups


def test_numbers_rise_as_the_narrative_is_read(tmp_path: Path) -> None:
    content = content_of(comparison(tmp_path))
    read = [group.number for sentence in content.narrative for group in sentence.groups]
    assert read == sorted(read) == [group.number for group in content.groups]


def test_sentence_about_an_entity_nobody_assessed_is_struck(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    invented = Sentence(text="There is a fracture.", entity_indices=(entity("effusion").index, 4711), about="change")
    content = content_of(replace(of, sentences=(*of.sentences, invented)))
    assert "There is a fracture." not in content.narrative_text


def test_resolved_finding_shows_where_it_was_on_the_prior(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    group = group_of(content_of(of), "effusion")
    assert group.is_on_prior
    assert of.prior_image is not None
    assert group.region.instance_uid == of.prior_image.header.instance_uid
    assert group.previous_region is None


def test_new_finding_shows_no_region_on_the_prior(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    group = group_of(content_of(of), "consolidation")
    assert group.region.instance_uid == of.current_image.header.instance_uid
    assert group.previous_region is None


def test_finding_seen_on_both_images_shows_both_regions(tmp_path: Path) -> None:
    group = group_of(content_of(comparison(tmp_path)), "ground_glass")
    assert group.previous_region == group.finding.prior_region
    assert group.region == group.finding.current_region


def test_when_nothing_is_seen_every_absence_rests_on_the_whole_image(tmp_path: Path) -> None:
    of = only(comparison(tmp_path), "pneumothorax", "lymph_nodes")
    content = content_of(of)
    assert len(content.groups) == 2
    header = of.current_image.header
    for group in content.groups:
        assert group.is_whole_image
        assert (group.region.right_px, group.region.bottom_px) == (header.columns, header.rows)
        assert (group.region.left_px, group.region.top_px) == (0, 0)


def test_without_a_prior_no_group_speaks_of_change(tmp_path: Path) -> None:
    content = content_of(comparison_without_prior(tmp_path))
    assert not content.is_compared
    assert [group.change for group in content.groups] == [None, None]


def test_absent_finding_without_a_prior_is_silent(tmp_path: Path) -> None:
    content = content_of(comparison_without_prior(tmp_path))
    assert [f.entity.index for f in content.silent] == [entity("pneumothorax").index]


def test_change_that_is_withheld_though_both_are_absent_is_silent(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    assert of.prior_image is not None
    withheld = finding("pneumothorax", (of.current_image, 0.1), (of.prior_image, 0.1), state=ChangeState.UNDETERMINED)
    content = content_of(told(replace(of, findings=(*of.findings[1:], withheld))))
    assert withheld in content.silent


def test_no_prior_and_could_not_ask_are_different_sentences(tmp_path: Path) -> None:
    said = {
        content_of(comparison_without_prior(tmp_path, outcome=outcome)).comparison_sentence for outcome in PriorOutcome
    }
    assert len(said) == len(PriorOutcome)
    could_not = content_of(comparison_without_prior(tmp_path, outcome=PriorOutcome.COULD_NOT_ASK))
    assert "could not be asked" in could_not.comparison_sentence


def test_comparison_that_assessed_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        content_of(replace(comparison(tmp_path), findings=()))
    assert caught.value.code is ReasonCode.REPORT_INVALID


@pytest.mark.parametrize(
    ("text", "said"),
    [("20240131", "2024-01-31"), ("2024.01.31", "2024-01-31"), ("", "unknown date"), ("januar", "unknown date")],
)
def test_dates_are_written_alike_everywhere(text: str, said: str) -> None:
    assert dated(text) == said
