"""A node that runs, a merge by the RIS and its undoing: similar cases, kept and new, and the priors follow."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.postgres.ports import free_port
from tests.acceptance.wire import picture
from tests.support.adt import adt, codes, send
from tests.support.house import ENDED, House
from tests.support.objects import as_bytes, dx_from_image, save
from tests.support.peers import dcmsend, open_folder, require
from tests.support.peers.process import wait_until

require("Orthanc", "libOrthancDicomWeb.so", "dcmsend")
pytestmark = [pytest.mark.peer, pytest.mark.acceptance]

ISSUER = "HOSP"
WITHIN_S = 120.0
FILMS = {"first": ("A1", "3161e216.jpg", "20240110"), "other": ("A3", "bb4c4038.jpg", "20240111")}


class MergingHouse(House):
    """A house whose RIS tells of merges."""

    def __init__(self, folder: Path) -> None:
        self.hl7_port = free_port()
        super().__init__(folder, {"ris": {"enabled": True, "port": self.hl7_port}})
        self._folder = folder

    def film(self, name: str, patient_id: str, file: str, day: str) -> str:
        """Send a film to the node; return the study's UID once its draft is made."""
        days = dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), day)
        said: dict[str, Any] = {
            "PatientID": patient_id,
            "IssuerOfPatientID": ISSUER,
            "PatientBirthDate": "19500101",
            "PatientSex": "F",
            "ViewPosition": "PA",
        }
        ds = dx_from_image(picture(file), seed=f"merged {name}", **said, **days)
        path = save(ds, self._folder / f"{name}.dcm")
        dcmsend([path], self.node.peer)
        uid = str(ds.StudyInstanceUID)
        assert wait_until(lambda: self.node.states().get(uid) in ENDED, WITHIN_S), self.node.states()
        return uid

    def similar(self, study_uid: str) -> set[str]:
        """Return the studies that the API offers as similar."""
        return {case["study_uid"] for case in self.node.get(f"/api/v1/studies/{study_uid}")["similar"]}

    def patients(self, *arguments: str) -> Any:
        """Run `patients ...` as an admin would; return its JSON."""
        command = [
            sys.executable,
            "-m",
            "app",
            "patients",
            *arguments,
            "--json",
            "--config",
            str(self.node.config_path),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def house() -> Iterator[MergingHouse]:
    with open_folder() as folder, MergingHouse(folder) as running:
        yield running


def test_results_follow_a_merge_and_its_undoing(house: MergingHouse) -> None:
    first = house.film("first", *FILMS["first"])
    other = house.film("other", *FILMS["other"])
    second = house.film("second", "A2", "3161e216.jpg", "20240220")
    assert house.similar(second) == {first, other}
    assert house.node.get(f"/api/v1/studies/{second}")["priors_outcome"] == "none-exists"

    merge = adt((f"A2^^^{ISSUER}", f"A1^^^{ISSUER}"), control_id="MERGE1")
    assert codes(send(house.hl7_port, merge, merge)) == ["AA", "AA"]
    assert house.similar(second) == {other}
    assert house.similar(other) <= {first, second}
    assert len(house.similar(other)) == 1

    third = house.film("third", "A2", "3161e216.jpg", "20240301")
    assert house.similar(third) == {other}
    late = house.film("late", "A1", "27a70642.jpg", "20240102")
    assert house.similar(late) == {other}

    shown = house.patients("show", "A1", "--issuer", ISSUER)
    assert shown["current"] == {"patient_id": "A2", "issuer": ISSUER}
    assert (shown["studies"], shown["images"]) == (4, 4)
    assert [event["message"] for event in shown["events"]] == ["ADT^A40 MERGE1"]

    assert house.patients("unmerge", "A1", "--issuer", ISSUER)["done"] == "unmerge"
    assert house.similar(second) == {first, other}
    assert codes(send(house.hl7_port, merge)) == ["AA"]
    assert house.similar(second) == {first, other}


def test_a_film_in_the_pacs_under_the_former_identifier_becomes_the_prior(house: MergingHouse) -> None:
    days = {"StudyDate": "20230501", "PatientBirthDate": "19500101", "PatientSex": "F", "ViewPosition": "PA"}
    earlier = dx_from_image(picture("27a70642.jpg"), seed="merged prior", PatientID="B1", **days)
    earlier.IssuerOfPatientID = ISSUER
    house.pacs.archive.upload(as_bytes(earlier))
    assert codes(send(house.hl7_port, adt((f"B2^^^{ISSUER}", f"B1^^^{ISSUER}"), control_id="MERGE2"))) == ["AA"]
    current = house.film("current", "B2", "3161e216.jpg", "20240501")
    detail = house.node.get(f"/api/v1/studies/{current}")
    assert detail["priors_outcome"] == "found"
    assert [decision["study_uid"] for decision in detail["prior_decisions"]] == [str(earlier.StudyInstanceUID)]
    assert str(earlier.StudyInstanceUID) not in house.similar(current)
