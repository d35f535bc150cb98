from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID

from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import Revision, StudyUid
from operators.domain.messages import InstanceHeader, Patient, PriorOutcome
from operators.domain.reasons import ReasonCode
from operators.priors.archive import Answers, GoneError
from operators.priors.candidates import Candidate, FrozenSearch, WantedImage
from operators.priors.config import PriorsConfig
from operators.priors.relevance import DecisionCode
from operators.priors.stage import PriorsStage
from tests.support.objects import dx_from_image, save
from tests.support.priors import NOW, PATIENT, StandingClock, candidate, current_study, image_header

AWAY = TransientError(ReasonCode.PACS_AWAY)
DISTRUSTS_US = TransientError(ReasonCode.PACS_REFUSED, status=401)
FILM = np.zeros((8, 8), dtype=np.uint8)


@dataclass
class ShelfArchive:
    """An archive of candidates in memory; what is in `failing` (a study's or image's UID, or "find") raises."""

    candidates: list[Candidate] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    is_complete: bool = True
    asked: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)

    def find_studies(self, patient_id: str) -> Answers:
        self._take("find", f"find {patient_id}")
        unopened = tuple(replace(answer, images=None) for answer in self.candidates)
        return Answers(candidates=unopened, is_complete=self.is_complete)

    def open_study(self, candidate: Candidate, modalities: Sequence[str]) -> Candidate:
        self._take(candidate.study_uid, f"open {candidate.study_uid}")
        held = next(answer for answer in self.candidates if answer.study_uid == candidate.study_uid)
        return replace(candidate, images=held.images)

    def fetch(self, image: WantedImage, path: Path) -> None:
        self._take(image.instance_uid, f"fetch {image.instance_uid}")
        path.parent.mkdir(parents=True, exist_ok=True)
        ds = dx_from_image(FILM, StudyInstanceUID=image.study_uid, SeriesInstanceUID=image.series_uid)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(image.instance_uid)
        ds.PatientID, ds.IssuerOfPatientID = self.named.get(image.instance_uid, PATIENT.patient_id), PATIENT.issuer
        ds.PatientBirthDate, ds.PatientSex = PATIENT.birth_date, PATIENT.sex
        ds.InstanceNumber = image.instance_uid.rsplit(".")[-1]
        save(ds, path)

    def _take(self, key: str, what: str) -> None:
        self.asked.append(what)
        if key in self.failing:
            raise self.failing[key]


@dataclass
class DictRepository:
    """Frozen searches in memory."""

    kept: dict[tuple[str, int], FrozenSearch] = field(default_factory=dict)
    began: datetime = NOW
    merged: tuple[Patient, ...] = ()

    def also_known_as(self, patient: Patient) -> tuple[Patient, ...]:
        return self.merged

    def load(self, study_uid: StudyUid, revision: Revision) -> FrozenSearch | None:
        return self.kept.get((study_uid, revision))

    def freeze(self, study_uid: StudyUid, revision: Revision, found: FrozenSearch) -> FrozenSearch:
        return self.kept.setdefault((study_uid, revision), found)

    def first_tried_at(self, study_uid: StudyUid, revision: Revision) -> datetime | None:
        return self.began


@dataclass
class House:
    """A stage with its surroundings."""

    spool_dir: Path
    archive: ShelfArchive = field(default_factory=ShelfArchive)
    repository: DictRepository = field(default_factory=DictRepository)
    clock: StandingClock = field(default_factory=StandingClock)

    def stage(self, *, has_archive: bool = True, config: PriorsConfig | None = None) -> PriorsStage:
        archive = self.archive if has_archive else None
        return PriorsStage(config or PriorsConfig(), archive, self.repository, self.spool_dir, self.clock)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def two_films(study_uid: str) -> list[InstanceHeader]:
    return [image_header(study_uid, 1), image_header(study_uid, 2)]


def test_the_prior_is_fetched_and_given_with_its_images_in_order(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1", images=two_films("1.2.1"))]
    case = house.stage()(current_study())
    assert case.search.outcome is PriorOutcome.FOUND
    assert [image.header.instance_uid for image in case.priors[0].images] == ["1.2.1.1.1", "1.2.1.1.2"]
    assert all(image.path.is_file() for image in case.priors[0].images)
    assert (case.priors[0].study_uid, case.priors[0].revision, case.priors[0].patient.issuer) == ("1.2.1", 1, "SITE")


def test_a_second_run_uses_the_frozen_list_and_asks_nothing(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    first = house.stage()(current_study())
    house.archive.candidates.append(candidate("1.2.2", study_date="20240301"))
    house.archive.asked.clear()
    assert house.stage()(current_study()) == first
    assert house.archive.asked == []


def test_of_two_runs_at_once_the_later_takes_over_what_the_earlier_froze(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    first = house.stage()(current_study())
    rival = house.stage(config=PriorsConfig(max_priors=1))
    house.archive.candidates.append(candidate("1.2.2", study_date="20240301"))
    hidden = house.repository.kept.pop(("1.2.9", 1))

    def freeze(study_uid: StudyUid, revision: Revision, found: FrozenSearch) -> FrozenSearch:
        assert found.search.chosen[0].study_uid == "1.2.2"
        return hidden

    house.repository.freeze = freeze  # type: ignore[method-assign] # the rival's insert came first
    assert rival(current_study()) == first


def test_another_revision_is_searched_for_anew(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    house.stage()(current_study())
    house.archive.candidates.append(candidate("1.2.2", study_date="20240301"))
    case = house.stage()(current_study(revision=Revision(2)))
    assert [prior.study_uid for prior in case.priors] == ["1.2.2", "1.2.1"]


# --- patients that were merged ----------------------------------------------------------------------------------------

NOW_CALLED, ONCE_CALLED = (Patient(patient_id=name, issuer=PATIENT.issuer) for name in ("P-2", "P-0"))


def merged_house(house: House) -> House:
    """The patient was merged into P-2, and P-0 into him; the PACS holds an earlier film under P-0."""
    house.repository.merged = (NOW_CALLED, ONCE_CALLED)
    formerly = replace(PATIENT, patient_id="P-0")
    house.archive.candidates = [candidate("1.2.1", patient=formerly)]
    house.archive.named["1.2.1.1.1"] = "P-0"
    return house


def test_a_prior_under_a_merged_identifier_is_found_and_fetched(house: House) -> None:
    case = merged_house(house).stage()(current_study())
    assert house.archive.asked[:3] == ["find P-1", "find P-2", "find P-0"]
    assert (case.search.outcome, [prior.study_uid for prior in case.priors]) == (PriorOutcome.FOUND, ["1.2.1"])
    assert case.priors[0].patient.patient_id == "P-0"


def test_former_identifiers_are_not_asked_for_where_the_pacs_follows_merges(house: House) -> None:
    merged_house(house).stage(config=PriorsConfig(ask_former_ids=False))(current_study())
    assert [asked for asked in house.archive.asked if asked.startswith("find")] == ["find P-1", "find P-2"]


def test_a_prior_is_left_when_the_merge_was_undone_before_it_is_used_again(house: House) -> None:
    merged_house(house).stage()(current_study())
    house.repository.merged = ()
    case = house.stage()(current_study())
    assert case.priors == ()
    assert case.search.outcome is not PriorOutcome.FOUND


def test_without_a_merge_a_film_under_another_identifier_is_somebody_elses(house: House) -> None:
    merged_house(house).repository.merged = ()
    case = house.stage()(current_study())
    assert (case.search.outcome, case.priors) == (PriorOutcome.NONE_EXISTS, ())


def test_a_search_under_several_identifiers_is_complete_when_all_answers_are(house: House) -> None:
    merged_house(house).archive.is_complete = False
    house.archive.candidates = []
    assert house.stage()(current_study()).search.outcome is PriorOutcome.COULD_NOT_ASK


def test_without_a_pacs_the_search_could_not_ask(house: House) -> None:
    case = house.stage(has_archive=False)(current_study())
    assert (case.search.outcome, case.priors) == (PriorOutcome.COULD_NOT_ASK, ())
    assert "no PACS is set up" in case.search.sentence


def test_without_a_patient_id_the_search_could_not_ask(house: House) -> None:
    nobody = current_study(patient=replace(PATIENT, patient_id=" "))
    case = house.stage()(nobody)
    assert case.search.outcome is PriorOutcome.COULD_NOT_ASK
    assert "no patient ID" in case.search.sentence
    assert house.archive.asked == []


def test_no_earlier_study_and_no_relevant_one_are_different_outcomes(house: House) -> None:
    assert house.stage()(current_study()).search.outcome is PriorOutcome.NONE_EXISTS
    house.archive.candidates = [candidate("1.2.1", study_date="20250101")]
    assert house.stage()(current_study(revision=Revision(2))).search.outcome is PriorOutcome.NONE_EXISTS
    house.archive.candidates.append(candidate("1.2.2", images=[image_header("1.2.2", body_part="HAND")]))
    search = house.stage()(current_study(revision=Revision(3))).search
    assert search.outcome is PriorOutcome.NONE_RELEVANT
    assert "another body part" in search.sentence


def test_a_study_no_rule_serves_has_no_relevant_prior_and_nothing_is_asked(house: House) -> None:
    search = house.stage()(current_study(images=[image_header("1.2.9", modality="MR")])).search
    assert search.outcome is PriorOutcome.NONE_RELEVANT
    assert "MR" in search.sentence
    assert house.archive.asked == []


def test_answers_that_may_be_incomplete_do_not_mean_that_no_prior_exists(house: House) -> None:
    house.archive.is_complete = False
    assert house.stage()(current_study()).search.outcome is PriorOutcome.COULD_NOT_ASK
    house.archive.candidates = [candidate("1.2.1")]
    assert house.stage()(current_study(revision=Revision(2))).search.outcome is PriorOutcome.FOUND


@pytest.mark.parametrize("error", [AWAY, DISTRUSTS_US])
@pytest.mark.parametrize("where", ["find", "1.2.1", "1.2.1.1.1"])
def test_a_pacs_that_is_away_or_distrusts_us_is_waited_for(house: House, where: str, error: TransientError) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    house.archive.failing[where] = error
    house.clock.at = NOW + timedelta(seconds=1799)
    with pytest.raises(TransientError) as caught:
        house.stage()(current_study())
    assert caught.value.code is error.code
    assert house.repository.kept == {}
    house.archive.failing.clear()
    assert house.stage()(current_study()).search.outcome is PriorOutcome.FOUND


@pytest.mark.parametrize("error", [AWAY, DISTRUSTS_US])
@pytest.mark.parametrize("where", ["find", "1.2.1", "1.2.1.1.1"])
def test_a_pacs_away_too_long_freezes_that_it_could_not_be_asked(
    house: House, where: str, error: TransientError
) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    house.archive.failing[where] = error
    house.clock.at = NOW + timedelta(seconds=1800)
    case = house.stage()(current_study())
    assert (case.search.outcome, case.priors) == (PriorOutcome.COULD_NOT_ASK, ())
    house.archive.failing.clear()
    assert house.stage()(current_study()).search == case.search


@pytest.mark.parametrize(("error", "said"), [(AWAY, "did not answer"), (DISTRUSTS_US, "refused this node")])
def test_the_sentence_says_why_the_pacs_could_not_be_asked(house: House, error: TransientError, said: str) -> None:
    house.archive.failing["find"] = error
    house.clock.at = NOW + timedelta(hours=1)
    assert said in house.stage()(current_study()).search.sentence


def test_a_full_disk_is_waited_for_however_late_it_is(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    house.archive.failing["1.2.1.1.1"] = TransientError(ReasonCode.STORAGE_FULL)
    house.clock.at = NOW + timedelta(hours=1)
    with pytest.raises(TransientError):
        house.stage()(current_study())
    assert house.repository.kept == {}


def test_a_retry_fetches_only_what_is_missing(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1", images=two_films("1.2.1"))]
    house.archive.failing["1.2.1.1.2"] = AWAY
    with pytest.raises(TransientError):
        house.stage()(current_study())
    house.archive.failing.clear()
    house.archive.asked.clear()
    assert len(house.stage()(current_study()).priors[0].images) == 2
    assert [asked for asked in house.archive.asked if asked.startswith("fetch")] == ["fetch 1.2.1.1.2"]


def test_what_arrived_before_the_pacs_went_for_good_is_compared_with(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1", study_date="20240301"), candidate("1.2.2")]
    house.archive.failing["1.2.2.1.1"] = AWAY
    house.clock.at = NOW + timedelta(hours=1)
    search = house.stage()(current_study()).search
    assert search.outcome is PriorOutcome.FOUND
    assert [decision.reason_code for decision in search.decisions] == ["chosen", DecisionCode.NOT_DELIVERED.value]


def test_a_prior_that_is_gone_is_left_out_with_its_reason(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1", study_date="20240301"), candidate("1.2.2")]
    house.archive.failing["1.2.1.1.1"] = GoneError(404)
    case = house.stage()(current_study())
    assert [prior.study_uid for prior in case.priors] == ["1.2.2"]
    assert [(d.reason_code, d.rank) for d in case.search.decisions] == [("chosen", 0), (DecisionCode.GONE.value, None)]


def test_a_frozen_prior_that_can_no_longer_be_had_is_left_out_and_said_so(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    first = house.stage()(current_study())
    first.priors[0].images[0].path.unlink()
    house.archive.failing["1.2.1.1.1"] = GoneError(404)
    again = house.stage()(current_study())
    assert (again.search.outcome, again.priors) == (PriorOutcome.COULD_NOT_ASK, ())
    assert again.search.decisions[0].reason_code == DecisionCode.GONE.value


def test_a_file_that_names_another_patient_is_not_compared_with(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    house.archive.named["1.2.1.1.1"] = "P-2"
    case = house.stage()(current_study())
    assert (case.search.outcome, case.priors) == (PriorOutcome.NONE_RELEVANT, ())
    assert case.search.decisions[0].study_date == ""


def test_a_file_that_is_no_image_is_left_out_and_fetched_again_next_time(house: House) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    path = house.spool_dir / "priors" / "1.2.1" / "1.2.1.1.1.dcm"
    path.parent.mkdir(parents=True)
    path.write_text("not an image")
    case = house.stage()(current_study())
    assert case.search.decisions[0].reason_code == DecisionCode.UNREADABLE.value
    assert house.stage()(current_study(revision=Revision(2))).search.outcome is PriorOutcome.FOUND


def test_a_refusal_parks_the_study_and_freezes_nothing(house: House) -> None:
    house.archive.failing["find"] = PermanentError(ReasonCode.PACS_REFUSED, status=400)
    house.clock.at = NOW + timedelta(hours=1)
    with pytest.raises(PermanentError):
        house.stage()(current_study())
    assert house.repository.kept == {}


def test_only_the_newest_candidates_are_opened(house: House) -> None:
    house.archive.candidates = [candidate(f"1.2.{n}", study_date=f"2024010{n}") for n in (1, 2, 3)]
    search = house.stage(config=PriorsConfig(max_opened=1))(current_study()).search
    assert [asked for asked in house.archive.asked if asked.startswith("open")] == ["open 1.2.3"]
    assert [decision.reason_code for decision in search.decisions] == ["chosen", "not-examined", "not-examined"]


def test_logs_name_no_patient(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.archive.candidates = [candidate("1.2.1")]
    with caplog.at_level("DEBUG"):
        house.stage()(current_study())
    written = " ".join(str(vars(record)) for record in caplog.records)
    assert "priors.searched" in written
    assert not any(planted in written for planted in ("P-1", "Test^One", "19500101", "1.2.9"))
