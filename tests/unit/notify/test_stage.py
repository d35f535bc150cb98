"""The notify stage."""

import logging

import pytest

from operators.domain.drafts import DocumentKind
from operators.notify.config import NotifyConfig, ResultStatus
from operators.notify.stage import NotifyStage
from tests.unit.notify.drafts import STUDY_UID, a_draft, destination


def test_every_destination_gets_one_message_of_its_own() -> None:
    stage = NotifyStage(NotifyConfig(destinations=(destination(), destination(name="archive"))))

    dispatches = stage(a_draft())

    assert [entry.destination for entry in dispatches.entries] == ["ris", "archive"]
    assert {entry.document.kind for entry in dispatches.entries} == {DocumentKind.ORU}
    assert {entry.study_uid for entry in dispatches.entries} == {STUDY_UID}
    assert len({entry.document.identity for entry in dispatches.entries}) == 2


def test_nothing_leaves_in_shadow_mode() -> None:
    assert NotifyStage(NotifyConfig(enabled=False, destinations=(destination(),)))(a_draft()).entries == ()


def test_unwise_setting_is_logged_at_start(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        NotifyStage(NotifyConfig(destinations=(destination(result_status=ResultStatus.P),)))

    assert [record.message for record in caplog.records] == ["notify.setting_unwise"]
