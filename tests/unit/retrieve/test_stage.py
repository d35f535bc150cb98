"""The retrieve stage's rules, with an index by brute force."""

from operators.domain.ids import AccessionNumber, StudyUid
from operators.domain.messages import Patient, PriorDecision
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.stage import RetrieveStage
from tests.unit.retrieve.cases import BUNDLE, ENTITIES, MemoryIndex, a_case, encoded_study, patient


def a_stage(index: MemoryIndex, **settings: int) -> RetrieveStage:
    return RetrieveStage(index, RetrieveConfig(**settings))


def test_current_and_priors_are_stored_for_every_entity() -> None:
    index = MemoryIndex()

    a_stage(index)(a_case(encoded_study(1, patient(1)), encoded_study(2, patient(1))))

    assert set(index.rows) == {
        (BUNDLE.bundle_id, entity, f"2.25.1{number:06d}") for entity in ENTITIES for number in (1, 2)
    }


def test_cases_of_other_patients_come_best_first_for_each_entity() -> None:
    index = MemoryIndex()
    stage = a_stage(index, cases_per_entity=2)
    for number in (1, 2, 3, 4):
        stage(a_case(encoded_study(number, patient(number))))

    similar = stage(a_case(encoded_study(9, patient(9)))).similar

    assert [(case.entity_index, case.rank) for case in similar] == [
        (entity, rank) for entity in ENTITIES for rank in (0, 1)
    ]
    for first, second in zip(similar[::2], similar[1::2], strict=True):
        assert first.score_cosine >= second.score_cosine


def test_same_patient_is_never_similar_even_when_identical() -> None:
    index = MemoryIndex()
    stage = a_stage(index)
    stage(a_case(encoded_study(1, patient(1), seed=7)))
    stage(a_case(encoded_study(2, patient(2), seed=8)))

    similar = stage(a_case(encoded_study(3, patient(1), seed=7))).similar

    assert {case.study_uid for case in similar} == {"2.25.2000002"}


def test_study_that_the_search_for_priors_found_is_withheld_under_any_patient_id() -> None:
    index = MemoryIndex()
    stage = a_stage(index)
    stage(a_case(encoded_study(1, patient(1))))
    decision = PriorDecision(
        study_uid=StudyUid("2.25.2000001"),
        study_date="20250101",
        study_time="",
        modalities=("DX",),
        study_description="",
        accession_number=AccessionNumber(""),
        rank=None,
        reason_code="too-old",
        reason="Too old.",
    )

    similar = stage(a_case(encoded_study(2, patient(2)), decisions=(decision,))).similar

    assert similar == ()


def test_patient_without_an_id_is_neither_stored_nor_compared_with_others() -> None:
    index = MemoryIndex()
    stage = a_stage(index)
    stage(a_case(encoded_study(1, patient(1))))

    retrieved = stage(a_case(encoded_study(2, Patient(patient_id=" ", name="Doe"))))

    assert retrieved.similar == ()
    assert len(index.rows) == len(ENTITIES)
    assert index.questions[1:] == []


def test_case_itself_travels_on_unchanged() -> None:
    case = a_case(encoded_study(1, patient(1)))

    assert a_stage(MemoryIndex())(case).encoded is case
