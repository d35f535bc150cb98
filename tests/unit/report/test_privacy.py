"""Nothing that names a patient leaves by the log or by an error's text."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from operators.domain.drafts import DocumentKind
from operators.domain.errors import PermanentError
from operators.domain.ids import InstanceUid, StudyUid
from operators.domain.messages import Image, SimilarCase
from operators.report.stage import ReportStage
from tests.support.comparisons import compared_case, comparison
from tests.support.drafts import CONFIG, NODE, KnownPredecessors, SetClock, draft_of, read

PLANTED = ("Geheimnis", "SECRET-ID-77", "19010203", "ACC-SECRET")


def test_log_of_a_rendering_names_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    of = comparison(
        tmp_path,
        PatientName="Geheimnis^Anna",
        PatientID="SECRET-ID-77",
        PatientBirthDate="19010203",
        AccessionNumber="ACC-SECRET",
    )
    draft_of(of)
    ours = [record.getMessage() + str(vars(record)) for record in caplog.records]
    assert not [text for text in ours for secret in PLANTED if secret in text]


def test_error_of_a_rendering_names_nobody(tmp_path: Path) -> None:
    of = comparison(tmp_path, PatientName="Geheimnis^Anna", PatientID="SECRET-ID-77")
    gone = replace(of, current_image=Image(header=of.current_image.header, path=tmp_path / "Geheimnis.dcm"))
    with pytest.raises(PermanentError) as caught:
        draft_of(gone)
    assert not [secret for secret in PLANTED if secret in caught.value.sentence]


def test_nothing_of_another_patient_enters_a_draft(tmp_path: Path) -> None:
    other = SimilarCase(
        entity_index=12,
        rank=1,
        study_uid=StudyUid("2.25.999888777"),
        instance_uid=InstanceUid("2.25.999888777.1"),
        score_cosine=0.9,
        presence_prob=0.9,
    )
    stage = ReportStage(CONFIG, node=NODE, clock=SetClock(), predecessors=KnownPredecessors())
    draft = stage(compared_case(comparison(tmp_path), (other,)))
    assert "2.25.999888777" not in str(read(draft, DocumentKind.SR))
    assert all(b"999888777" not in document.content for document in draft.documents)
    assert b"999888777" not in draft.preview_pdf
