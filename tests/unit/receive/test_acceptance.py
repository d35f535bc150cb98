"""Which associations are welcome and which objects open a study."""

from dataclasses import replace

import pytest
from pydicom.uid import CTImageStorage, ParametricMapStorage, SegmentationStorage

from operators.domain.ids import AccessionNumber, InstanceUid, SeriesUid, StudyUid
from operators.domain.messages import InstanceHeader, Patient
from operators.receive.acceptance import (
    COMMENTS,
    RefusalReason,
    StoreStatus,
    has_identifiers,
    judge_association,
    opens_study,
)
from operators.receive.config import ReceiveConfig

_HEADER = InstanceHeader(
    instance_uid=InstanceUid("1.2.3.1"),
    sop_class_uid=CTImageStorage,
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    series_uid=SeriesUid("1.2.3"),
    study_uid=StudyUid("1.2"),
    patient=Patient(patient_id="P"),
    accession_number=AccessionNumber(""),
)


@pytest.mark.parametrize(
    ("calling", "called", "others", "reason"),
    [
        ("CT1", "INTERVAL", 0, None),
        (" CT1 ", "INTERVAL ", 1, None),
        ("CT1", "ALIAS", 0, None),
        ("CT2", "INTERVAL", 0, RefusalReason.CALLING_AE),
        ("ct1", "INTERVAL", 0, RefusalReason.CALLING_AE),
        ("CT1", "OTHER", 0, RefusalReason.CALLED_AE),
        ("CT1", "INTERVAL", 2, RefusalReason.TOO_MANY),
    ],
)
def test_who_may_connect(calling: str, called: str, others: int, reason: RefusalReason | None) -> None:
    config = ReceiveConfig(calling_ae_titles=("CT1",), called_ae_titles=("ALIAS",), maximum_associations=2)

    rejection = judge_association(calling, called, others, config)

    assert (rejection.reason if rejection else None) is reason


def test_by_default_anybody_may_call_the_node_by_its_name() -> None:
    assert judge_association("ANYBODY", "INTERVAL", 0, ReceiveConfig()) is None


def test_any_name_may_be_called_when_so_configured() -> None:
    assert judge_association("A", "WHATEVER", 0, ReceiveConfig(called_ae_titles=("*",))) is None


def test_too_many_is_transient_and_an_unknown_name_is_not() -> None:
    config = ReceiveConfig(calling_ae_titles=("A",), maximum_associations=1)
    full, unknown = judge_association("A", "INTERVAL", 1, config), judge_association("B", "INTERVAL", 0, config)

    assert full is not None
    assert unknown is not None
    assert (full.result, full.source, full.diagnostic) == (2, 3, 2)
    assert (unknown.result, unknown.source, unknown.diagnostic) == (1, 1, 3)


@pytest.mark.parametrize("sop_class", [SegmentationStorage, ParametricMapStorage])
def test_findings_with_pixels_open_no_study(sop_class: str) -> None:
    assert not opens_study(replace(_HEADER, sop_class_uid=sop_class), has_pixels=True)


def test_a_segmentation_of_a_newer_class_opens_no_study() -> None:
    newer = replace(_HEADER, sop_class_uid="1.2.840.10008.5.1.4.1.1.66.7", modality="SEG")

    assert not opens_study(newer, has_pixels=True)


def test_an_image_opens_a_study_and_without_pixels_it_does_not() -> None:
    assert opens_study(_HEADER, has_pixels=True)
    assert not opens_study(_HEADER, has_pixels=False)


@pytest.mark.parametrize("uid", ["", "1.2.", "../../etc/passwd", "1.2 .3", "1" * 65, "1..2", "\uff11.\uff12"])
def test_a_study_must_be_named_by_a_uid(uid: str) -> None:
    assert has_identifiers(_HEADER)
    assert not has_identifiers(replace(_HEADER, study_uid=StudyUid(uid)))


def test_every_failure_has_a_comment_that_fits() -> None:
    assert set(COMMENTS) == set(StoreStatus) - {StoreStatus.SUCCESS}
    assert all(0 < len(comment) <= 64 and comment.isascii() for comment in COMMENTS.values())
