"""Processes killed at random in the middle of the work: nothing is lost, nothing doubled. And the counting counts."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage

from tests.chaos.killing import Kill
from tests.chaos.run import Figure, figures
from tests.chaos.studies import StudyPlan, plan_studies, seeded
from tests.chaos.verdict import Verdict, judge
from tests.chaos.victims import Kind, Victim, choose
from tests.support.house import House
from tests.support.objects import basic_text_sr
from tests.support.peers import StoredInstance, require

ROOT = Path(__file__).resolve().parents[2]
SR, PDF = str(Comprehensive3DSRStorage), str(EncapsulatedPDFStorage)


@pytest.mark.peer
@pytest.mark.acceptance
def test_five_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    require("Orthanc", "libOrthancDicomWeb.so", "dcmsend")
    command = [sys.executable, "-m", "tests.chaos", "--n", "5", "--studies", "3", "--gap-s", "2.5", "--peers"]
    command += ["--seed", "4", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("INTERVAL_RESULT ")
    result = json.loads(last.removeprefix("INTERVAL_RESULT "))
    assert result == json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (result["command"], result["ok"]) == ("chaos", True)
    assert result["metrics"][0] == {"fault": "kill -9 any", "tried": 5, "lost": 0, "doubled": 0}
    assert (tmp_path / "node.log").stat().st_size > 0


# --- the counting ---------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """A house that holds what it is told: the parts that the verdict asks."""

    plan: StudyPlan
    state: str = "done"
    images: int = 1
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    messages: dict[str, set[bytes]] = field(default_factory=dict)

    @property
    def node(self) -> "Told":
        return self

    @property
    def pacs(self) -> "Told":
        return self

    @property
    def archive(self) -> "Told":
        return self

    @property
    def ris(self) -> "Told":
        return self

    def get(self, path: str) -> dict[str, Any]:
        assert path.endswith(self.plan.study_uid)
        row = {"state": self.state, "images": self.images, "waits_for": None}
        return {"study": row, "deliveries": self.deliveries}

    def instances(self, study_uid: str) -> list[StoredInstance]:
        return [
            StoredInstance(
                orthanc_id=uid,
                sop_instance_uid=uid,
                sop_class_uid=PDF if uid.startswith("pdf") else SR,
                series_uid="",
                study_uid=study_uid,
                modality="",
            )
            for uid in self.objects
        ]

    def download(self, instance: StoredInstance) -> bytes:
        return self.objects[instance.orthanc_id]

    def distinct(self) -> dict[str, set[bytes]]:
        return self.messages

    def judged(self) -> Verdict:
        return judge(cast("House", self), [self.plan])


def sr(uid: str, replaces: Sequence[str] = ()) -> bytes:
    ds = basic_text_sr(SOPInstanceUID=uid)
    if replaces:
        study, series = Dataset(), Dataset()
        series.ReferencedSOPSequence = []
        for predecessor in replaces:
            reference = Dataset()
            reference.ReferencedSOPInstanceUID = predecessor
            series.ReferencedSOPSequence.append(reference)
        study.ReferencedSeriesSequence = [series]
        ds.PredecessorDocumentsSequence = [study]
    content = BytesIO()
    dcmwrite(content, ds, enforce_file_format=True)
    return content.getvalue()


def delivery(kind: str, identity: str, revision: int = 1) -> dict[str, Any]:
    return {"kind": kind, "identity": identity, "revision": revision, "state": "sent", "destination": "d"}


@pytest.fixture
def told(tmp_path: Path) -> Told:
    (plan,) = plan_studies(1, tmp_path, seeded(1), within_s=1.0)
    return Told(
        plan=plan,
        deliveries=[
            delivery("sr", "1.1"), delivery("oru", "IV1"), delivery("sr", "1.2", 2), delivery("oru", "IV2", 2),
        ],
        objects={"1.1": sr("1.1"), "1.2": sr("1.2", ["1.1"])},
        messages={"IV1": {b"a"}, "IV2": {b"b"}},
    )  # fmt: skip


def test_a_draft_and_its_successor_are_as_it_should_be(told: Told) -> None:
    assert told.judged().is_clean
    assert dcmread(BytesIO(told.objects["1.2"])).PredecessorDocumentsSequence


def test_a_study_that_is_not_done_is_lost(told: Told) -> None:
    told.state = "parked"
    assert list(told.judged().lost) == [told.plan.study_uid]


def test_an_image_that_was_acknowledged_and_is_not_there_is_lost(told: Told) -> None:
    told.images = 0
    assert list(told.judged().lost) == [told.plan.study_uid]


def test_an_image_that_is_there_twice_is_doubled(told: Told) -> None:
    told.images = 2
    assert list(told.judged().doubled) == [told.plan.study_uid]


def test_a_document_that_is_not_in_the_archive_is_lost(told: Told) -> None:
    told.deliveries.append(delivery("pdf", "pdf.1"))
    assert list(told.judged().lost) == [told.plan.study_uid]


def test_a_document_in_the_archive_that_nobody_sent_is_doubled(told: Told) -> None:
    told.objects["pdf.9"] = b""
    assert list(told.judged().doubled) == [told.plan.study_uid]


def test_two_drafts_of_which_none_replaces_the_other_are_doubled(told: Told) -> None:
    told.objects["1.2"] = sr("1.2")
    assert list(told.judged().doubled) == [told.plan.study_uid]


def test_drafts_that_replace_each_other_are_lost(told: Told) -> None:
    told.objects["1.1"] = sr("1.1", ["1.2"])
    assert list(told.judged().lost) == [told.plan.study_uid]


def test_a_message_that_never_came_is_lost(told: Told) -> None:
    del told.messages["IV2"]
    assert list(told.judged().lost) == [told.plan.study_uid]


def test_a_message_that_came_again_with_other_content_is_doubled(told: Told) -> None:
    told.messages["IV1"].add(b"something else")
    assert list(told.judged().doubled) == [told.plan.study_uid]


def test_a_message_that_nobody_announced_is_doubled(told: Told) -> None:
    told.messages["IV9"] = {b"c"}
    assert list(told.judged().doubled) == [""]


def test_figures_count_studies_and_kills() -> None:
    verdict = Verdict()
    verdict.lost["1.2"] += ["this", "and that"]
    kills = [Kill(kind=kind, at_s=0.0) for kind in (Kind.WORK, Kind.WEB, Kind.WORK)]
    assert figures(verdict, kills) == (
        Figure(fault="kill -9 any", tried=3, lost=1, doubled=0),
        Figure(fault="kill -9 web", tried=1, lost=1, doubled=0),
        Figure(fault="kill -9 work", tried=2, lost=1, doubled=0),
    )


def test_kinds_are_drawn_before_processes() -> None:
    victims = [Victim(kind=Kind.BACKEND, pid=pid) for pid in range(100)] + [Victim(kind=Kind.WORK, pid=100)]
    random = seeded(0)
    drawn = [choose(victims, random).kind for _ in range(1000)]
    assert 400 < drawn.count(Kind.WORK) < 600


def test_plans_are_the_same_for_the_same_seed_and_of_different_patients(tmp_path: Path) -> None:
    first, second = (plan_studies(6, tmp_path / name, seeded(3), within_s=60.0) for name in ("a", "b"))
    assert [plan.prior for plan in first] == [plan.prior for plan in second]
    assert [[path.read_bytes() for path in plan.images] for plan in first] == [
        [path.read_bytes() for path in plan.images] for plan in second
    ]
    assert len({plan.patient_id for plan in first}) == len({plan.study_uid for plan in first}) == 6
    assert any(plan.late for plan in first)
    assert any(len(plan.images) > 1 for plan in first)
    assert max(plan.at_s for plan in first) <= 45.0
