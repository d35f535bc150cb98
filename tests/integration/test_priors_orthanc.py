"""The priors stage against a real PACS (Orthanc with DICOMweb) and a real database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, JPEG2000Lossless, JPEGLosslessSV1, RLELossless

from operators.domain.database import Pool, transaction
from operators.domain.errors import TransientError
from operators.domain.messages import CaseWithPriors, Patient, PriorOutcome, Study
from operators.domain.reasons import ReasonCode
from operators.priors.candidates import WantedImage
from operators.priors.config import PriorsConfig
from operators.priors.dicomweb import DicomWebArchive
from operators.priors.repository import PriorSearches
from operators.priors.stage import PriorsStage
from tests.support.objects import as_bytes, basic_text_sr, dx_from_image, save
from tests.support.peers.orthanc import Orthanc
from tests.support.peers.programs import require
from tests.support.priors import StandingClock, current_study
from tests.support.transcoding import missing_program, transcoded

pytestmark = pytest.mark.peer

FILM = np.random.default_rng(7).integers(0, 4096, (64, 48), dtype=np.uint16)


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS that matches patient IDs without case, as archives do."""
    require("Orthanc", "libOrthancDicomWeb.so")
    dicom_web = {"Enable": True, "Root": "/dicom-web/", "QidoCaseSensitive": False}
    settings = {"DicomWeb": dicom_web, "DefaultEncoding": "Utf8"}
    with Orthanc(tmp_path_factory.mktemp("pacs"), settings=settings) as orthanc:
        yield orthanc


def put(pacs: Orthanc, seed: str, patient_id: str, **attributes: Any) -> Dataset:
    """Store a frontal chest film of 5 January 2023 and return it."""
    facts = {"PatientID": patient_id, "StudyDate": "20230105", "IssuerOfPatientID": "SITE"} | attributes
    ds = dx_from_image(FILM, seed=seed, **facts)
    pacs.archive.upload(as_bytes(ds))
    return ds


def current_of(patient_id: str, *, issuer: str = "SITE") -> Study:
    """Study of 2 March 2024 of that patient, with the demographics of the test objects."""
    patient = Patient(patient_id=patient_id, issuer=issuer, name="Test^Patient", birth_date="19500101", sex="O")
    return current_study(patient=patient)


@pytest.fixture
def revision_began(pool: Pool) -> datetime:
    """A closed revision of the current study, being worked on since a minute ago."""
    began = datetime.now(UTC) - timedelta(minutes=1)
    with transaction(pool) as connection:
        connection.execute("INSERT INTO studies (study_uid, patient_id) VALUES ('1.2.9', 'P')")
        connection.execute(
            "INSERT INTO revisions (study_uid, revision, state, closed_at, started_at)"
            " VALUES ('1.2.9', 1, 'working', %(began)s, %(began)s)",
            {"began": began},
        )
    return began


@pytest.fixture
def find(pacs: Orthanc, pool: Pool, revision_began: datetime, tmp_path: Path) -> Any:
    """Run the stage on a study of the given patient, with settings of its own."""

    def run(study: Study, **settings: Any) -> CaseWithPriors:
        config = PriorsConfig(url=pacs.dicom_web_url, **settings)
        clock = StandingClock(revision_began)
        return PriorsStage(config, DicomWebArchive(config), PriorSearches(pool), tmp_path, clock)(study)

    return run


def test_the_prior_is_found_fetched_and_frozen(pacs: Orthanc, find: Any, pool: Pool) -> None:
    prior = put(pacs, "found", "FOUND-1", PatientName="Ängström^Σ", AccessionNumber="ACC7")
    case = find(current_of("FOUND-1"))
    (decision,) = case.search.decisions
    assert (decision.study_uid, decision.accession_number, decision.rank) == (prior.StudyInstanceUID, "ACC7", 0)
    (image,) = case.priors[0].images
    assert (dcmread(image.path).pixel_array == FILM).all()
    assert case.priors[0].patient.name == "Ängström^Σ"
    with transaction(pool) as connection:
        row = connection.execute("SELECT outcome, jsonb_array_length(images) AS n FROM prior_searches").fetchone()
    assert row == {"outcome": "found", "n": 1}


def test_no_study_of_the_patient_means_that_no_prior_exists(pacs: Orthanc, find: Any) -> None:
    put(pacs, "other", "OTHER-1")
    search = find(current_of("NOBODY-1")).search
    assert (search.outcome, search.decisions) == (PriorOutcome.NONE_EXISTS, ())


def test_a_second_run_asks_nothing_even_when_the_pacs_holds_more(
    pacs: Orthanc, find: Any, pool: Pool, tmp_path: Path
) -> None:
    put(pacs, "frozen-1", "FROZEN-1")
    first = find(current_of("FROZEN-1"))
    put(pacs, "frozen-2", "FROZEN-1", StudyDate="20240101")
    nowhere = PriorsConfig(url="http://127.0.0.1:9/")
    stage = PriorsStage(nowhere, DicomWebArchive(nowhere), PriorSearches(pool), tmp_path, StandingClock())
    assert stage(current_of("FROZEN-1")) == first


def test_a_patient_id_that_differs_in_case_is_another_patient(pacs: Orthanc, find: Any) -> None:
    put(pacs, "case-lower", "case-1")
    mine = put(pacs, "case-upper", "CASE-1")
    search = find(current_of("CASE-1")).search
    assert [decision.study_uid for decision in search.decisions] == [mine.StudyInstanceUID]


def test_the_same_id_of_another_issuer_is_another_patient(pacs: Orthanc, find: Any) -> None:
    put(pacs, "issuer-other", "ISSUER-1", IssuerOfPatientID="ELSEWHERE")
    search = find(current_of("ISSUER-1")).search
    assert search.outcome is PriorOutcome.NONE_RELEVANT
    assert [decision.reason_code for decision in search.decisions] == ["other-issuer"]


@pytest.mark.parametrize(("trusts", "outcome"), [(True, PriorOutcome.FOUND), (False, PriorOutcome.NONE_RELEVANT)])
def test_a_prior_without_issuer_is_taken_only_when_that_is_trusted(
    pacs: Orthanc, find: Any, *, trusts: bool, outcome: PriorOutcome
) -> None:
    put(pacs, "issuer-none", "NOISSUER-1", IssuerOfPatientID="")
    assert find(current_of("NOISSUER-1"), trust_missing_issuer=trusts).search.outcome is outcome


@pytest.mark.parametrize("patient_id", ["A B 12", "A/B-12", "A&B=12", "A%41B12", "A+B12", "Ä-1234", "王-1234", "A*B12"])
def test_a_patient_id_with_awkward_characters_finds_its_own_studies_only(
    pacs: Orthanc, find: Any, patient_id: str
) -> None:
    mine = put(pacs, f"awkward {patient_id}", patient_id)
    put(pacs, f"beside {patient_id}", "AxB12")
    search = find(current_of(patient_id)).search
    assert search.outcome is PriorOutcome.FOUND
    assert [decision.study_uid for decision in search.decisions] == [mine.StudyInstanceUID]


def test_each_study_of_the_patient_gets_its_reason(pacs: Orthanc, find: Any) -> None:
    put(pacs, "r-good", "REASONS-1")
    put(pacs, "r-hand", "REASONS-1", BodyPartExamined="HAND", StudyDescription="Hand")
    put(pacs, "r-blank", "REASONS-1", BodyPartExamined="", AnatomicRegionSequence=[], StudyDescription="")
    put(pacs, "r-hint", "REASONS-1", BodyPartExamined="", StudyDescription="Röntgen Thorax", StudyDate="20220101")
    put(pacs, "r-side", "REASONS-1", ViewPosition="LL", ViewCodeSequence=[], PatientOrientation=["P", "F"])
    put(pacs, "r-late", "REASONS-1", StudyDate="20240303")
    put(pacs, "r-same-day", "REASONS-1", StudyDate="20240302", StudyTime="091000")
    sr = basic_text_sr(seed="r-sr", PatientID="REASONS-1", IssuerOfPatientID="SITE", StudyDate="20230601")
    pacs.archive.upload(as_bytes(sr))
    put(pacs, "r-sex", "REASONS-1", PatientSex="F")
    search = find(current_of("REASONS-1"), max_priors=3).search
    assert sorted(decision.reason_code for decision in search.decisions) == sorted(
        ["chosen", "chosen", "chosen", "other-body-part", "body-part-unknown", "other-view", "not-earlier",
         "other-modality", "demographics-disagree"]
    )  # fmt: skip
    assert [decision.study_date for decision in search.chosen] == ["20240302", "20230105", "20220101"]


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, RLELossless])
def test_a_compressed_prior_is_fetched_as_it_is_stored(pacs: Orthanc, find: Any, tmp_path: Path, syntax: UID) -> None:
    if program := missing_program(syntax):
        require(program)
    patient_id = f"COMP-{syntax.keyword}"
    plain = dx_from_image(FILM, seed=patient_id, PatientID=patient_id, IssuerOfPatientID="SITE", StudyDate="20230105")
    stored = transcoded(save(plain, tmp_path / "plain.dcm"), syntax, tmp_path).read_bytes()
    pacs.archive.upload(stored)
    (image,) = find(current_of(patient_id)).priors[0].images
    assert image.header.transfer_syntax_uid == syntax
    assert dcmread(image.path).PixelData == dcmread(tmp_path / f"plain_{syntax.keyword}.dcm").PixelData


def test_only_images_the_rule_reads_are_fetched(pacs: Orthanc, find: Any) -> None:
    film = put(pacs, "mixed", "MIXED-1")
    sr = basic_text_sr(seed="mixed-sr", PatientID="MIXED-1", IssuerOfPatientID="SITE", StudyDate="20230105")
    sr.StudyInstanceUID = film.StudyInstanceUID
    pacs.archive.upload(as_bytes(sr))
    (prior,) = find(current_of("MIXED-1")).priors
    assert [image.header.instance_uid for image in prior.images] == [film.SOPInstanceUID]


def test_a_prior_deleted_after_it_was_frozen_is_left_out_and_said_so(pacs: Orthanc, find: Any) -> None:
    prior = put(pacs, "deleted", "DELETED-1")
    path = find(current_of("DELETED-1")).priors[0].images[0].path
    path.unlink()
    pacs.archive.delete_study(prior.StudyInstanceUID)
    case = find(current_of("DELETED-1"))
    assert (case.search.outcome, case.priors) == (PriorOutcome.COULD_NOT_ASK, ())
    assert case.search.decisions[0].reason_code == "gone"


def test_the_first_search_to_be_frozen_stays(pool: Pool, pacs: Orthanc, find: Any, tmp_path: Path) -> None:
    put(pacs, "race-1", "RACE-1")
    first = find(current_of("RACE-1"))
    searches = PriorSearches(pool)
    frozen = searches.load(current_of("RACE-1").study_uid, current_of("RACE-1").revision)
    assert frozen is not None
    rival = replace(frozen, images=(), search=replace(frozen.search, outcome=PriorOutcome.NONE_EXISTS, decisions=()))
    assert searches.freeze(first.current.study_uid, first.current.revision, rival) == frozen


class PacsThatDies:
    """The archive, whose PACS is killed when a given number of images was fetched."""

    def __init__(self, archive: DicomWebArchive, pacs: Orthanc, after: int) -> None:
        self._archive, self._pacs, self._left = archive, pacs, after
        self.find_studies = archive.find_studies
        self.open_study = archive.open_study
        self.fetched: list[str] = []

    def fetch(self, image: WantedImage, path: Path) -> None:
        if self._left == 0:
            self._pacs.kill()
        self._left -= 1
        self._archive.fetch(image, path)
        self.fetched.append(image.instance_uid)


def test_a_pacs_killed_in_the_middle_of_fetching_is_waited_for_and_resumed(
    tmp_path: Path, pool: Pool, revision_began: datetime
) -> None:
    require("Orthanc", "libOrthancDicomWeb.so")
    with Orthanc(tmp_path / "pacs") as pacs:
        for number in (1, 2, 3):
            instance = {"SOPInstanceUID": f"1.2.3.{number}", "InstanceNumber": str(number)}
            put(pacs, "killed", "KILLED-1", **instance)
        config = PriorsConfig(url=pacs.dicom_web_url)
        clock = StandingClock(revision_began)
        dying = PacsThatDies(DicomWebArchive(config), pacs, after=1)
        with pytest.raises(TransientError) as caught:
            PriorsStage(config, dying, PriorSearches(pool), tmp_path, clock)(current_of("KILLED-1"))
        assert caught.value.code is ReasonCode.PACS_AWAY
        assert dying.fetched == ["1.2.3.1"]
        pacs.start()
        back = PacsThatDies(DicomWebArchive(config), pacs, after=99)
        case = PriorsStage(config, back, PriorSearches(pool), tmp_path, clock)(current_of("KILLED-1"))
        assert back.fetched == ["1.2.3.2", "1.2.3.3"]
        assert [image.header.instance_number for image in case.priors[0].images] == [1, 2, 3]


def test_a_pacs_that_stays_away_ends_in_a_frozen_could_not_ask(
    pacs: Orthanc, pool: Pool, revision_began: datetime, tmp_path: Path
) -> None:
    put(pacs, "away", "AWAY-1")
    nowhere = PriorsConfig(url="http://127.0.0.1:9/")
    clock = StandingClock(revision_began + timedelta(seconds=nowhere.give_up_after_s))
    stage = PriorsStage(nowhere, DicomWebArchive(nowhere), PriorSearches(pool), tmp_path, clock)
    assert stage(current_of("AWAY-1")).search.outcome is PriorOutcome.COULD_NOT_ASK
    back = PriorsConfig(url=pacs.dicom_web_url)
    stage = PriorsStage(back, DicomWebArchive(back), PriorSearches(pool), tmp_path, clock)
    assert stage(current_of("AWAY-1")).search.outcome is PriorOutcome.COULD_NOT_ASK


def test_a_wrong_password_is_waited_out_and_the_right_one_finds(
    tmp_path: Path, pool: Pool, revision_began: datetime
) -> None:
    require("Orthanc", "libOrthancDicomWeb.so")
    with Orthanc(tmp_path / "pacs", users={"node": "right"}) as pacs:
        put(pacs, "password", "PASSWORD-1")
        for password, finds in (("wrong", False), ("right", True)):
            config = PriorsConfig(url=pacs.dicom_web_url, authentication="basic", username="node", password=password)
            clock = StandingClock(revision_began)
            stage = PriorsStage(config, DicomWebArchive(config), PriorSearches(pool), tmp_path, clock)
            if finds:
                assert stage(current_of("PASSWORD-1")).search.outcome is PriorOutcome.FOUND
                continue
            with pytest.raises(TransientError) as caught:
                stage(current_of("PASSWORD-1"))
            assert (caught.value.code, caught.value.facts["status"]) == (ReasonCode.PACS_REFUSED, 401)


def test_the_current_study_in_the_pacs_is_not_its_own_prior(pacs: Orthanc, find: Any) -> None:
    put(pacs, "self", "SELF-1", StudyInstanceUID="1.2.9")
    assert len(DicomWebArchive(PriorsConfig(url=pacs.dicom_web_url)).find_studies("SELF-1").candidates) == 1
    search = find(current_of("SELF-1")).search
    assert (search.outcome, search.decisions) == (PriorOutcome.NONE_EXISTS, ())
