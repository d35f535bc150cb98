import pytest

from app.web.showing import nearest, shown_day, shown_name
from operators.domain.ids import InstanceUid, StudyUid
from operators.domain.messages import SimilarCase


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("Παπαδόπουλος^Νικόλαος", "Παπαδόπουλος, Νικόλαος"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田, 太郎; やまだ, たろう)"),
        ("=山田^太郎", "山田, 太郎"),
        ("Adams^John^Quincy^Rev.^B.A.", "Adams, Rev. John Quincy B.A."),
        ("UNKNOWN", "UNKNOWN"),
        ("^^", ""),
        ("", ""),
        ("a^b^c^d^e^f^g", "a, d b c e"),
    ],
)
def test_names_are_shown_in_all_their_spellings(sent: str, shown: str) -> None:
    assert shown_name(sent) == shown


@pytest.mark.parametrize(
    ("sent", "shown"), [("20240229", "2024-02-29"), ("20230229", "20230229"), ("", ""), ("2024.01.02", "2024-01-02")]
)
def test_dates_are_shown_unless_they_are_none(sent: str, shown: str) -> None:
    assert shown_day(sent) == shown


def test_the_nearest_of_each_entity_are_kept_in_order() -> None:
    found = nearest([case(1, 1), case(2, 0), case(1, 0), case(1, 2)], count=2)
    assert {index: [one.rank for one in cases] for index, cases in found.items()} == {2: [0], 1: [0, 1]}


def case(entity_index: int, rank: int) -> SimilarCase:
    uid = f"2.25.{entity_index}{rank}"
    return SimilarCase(
        entity_index=entity_index,
        rank=rank,
        study_uid=StudyUid(uid),
        instance_uid=InstanceUid(uid),
        score_cosine=0.9,
        presence_prob=0.5,
    )
