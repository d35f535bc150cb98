"""What is answered to a C-STORE, whatever fails: success only for what is durable."""

import errno
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from operators.domain.errors import TransientError
from operators.domain.ids import AeTitle, InstanceUid
from operators.domain.reasons import ReasonCode
from operators.receive.acceptance import StoreStatus
from operators.receive.ledger import Arrival, Recorded, StoredFile
from operators.receive.part10 import file_preface
from operators.receive.spool import Spool
from operators.receive.storing import StoreOutcome, Storer, StoreRequest
from tests.support.objects import basic_text_sr, dx_from_image

_NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_AWAY = TransientError(ReasonCode.DATABASE_AWAY)


class StandingClock:
    def now(self) -> datetime:
        return _NOW

    def monotonic_s(self) -> float:
        return 0.0


@dataclass
class Records:
    """Rows in memory. `lost_commit`: the next record is committed, but the answer does not arrive."""

    rows: dict[str, StoredFile] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    ours: set[str] = field(default_factory=set)
    counted: list[tuple[str, str]] = field(default_factory=list)
    failing: bool = False
    lost_commit: bool = False
    repeats: bool = False
    forgets: bool = False
    reopened: list[Arrival] = field(default_factory=list)

    def record(self, arrival: Arrival) -> Recorded:
        if self.failing:
            raise _AWAY
        if self.forgets or arrival.header.instance_uid in self.rows:
            return Recorded.DUPLICATE
        self.rows[arrival.header.instance_uid] = _row_of(arrival)
        self.arrivals.append(arrival)
        if self.lost_commit:
            raise _AWAY
        return Recorded.DUPLICATE if self.repeats else Recorded.NEW

    def stored(self, instance_uid: InstanceUid) -> StoredFile | None:
        return self.rows.get(instance_uid)

    def replace(self, arrival: Arrival, before: StoredFile) -> bool:
        if self.failing:
            raise _AWAY
        if self.rows[arrival.header.instance_uid].path != before.path:
            return False
        self.rows[arrival.header.instance_uid] = _row_of(arrival)
        return True

    def reopen(self, arrival: Arrival) -> bool:
        self.reopened.append(arrival)
        return True

    def is_ours(self, instance_uid: str) -> bool:
        if self.failing:
            raise _AWAY
        return instance_uid in self.ours

    def count(self, name: str, label: str = "") -> None:
        if self.failing:
            raise _AWAY
        self.counted.append((name, label))


def _row_of(arrival: Arrival) -> StoredFile:
    return StoredFile(
        path=arrival.path,
        purged=False,
        sha256=arrival.sha256,
        transfer_syntax_uid=arrival.header.transfer_syntax_uid,
        study_uid=arrival.header.study_uid,
        header=arrival.header,
    )


class Desk:
    """A storer with its spool and rows."""

    def __init__(self, root: Path) -> None:
        self.spool = Spool(root, writer="w")
        self.spool.prepare()
        self.records = Records()
        self.storer = Storer(files=self.spool, records=self.records, clock=StandingClock())

    def store(self, ds: FileDataset, **announced: str) -> StoreOutcome:
        request = StoreRequest(
            sop_class_uid=announced.get("sop_class_uid", str(ds.SOPClassUID)),
            sop_instance_uid=announced.get("sop_instance_uid", str(ds.get("SOPInstanceUID"))),
            transfer_syntax_uid=ExplicitVRLittleEndian,
            calling_ae=AeTitle(announced.get("calling_ae", "SENDER")),
        )
        part = self.spool.begin(
            file_preface(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                transfer_syntax_uid=ExplicitVRLittleEndian,
                source_ae_title=request.calling_ae,
            )
        )
        part.write(memoryview(_body(ds)))
        return self.storer.store(part, request)

    def files(self) -> list[Path]:
        return [path for path in self.spool.root.rglob("*") if path.is_file()]


def _body(ds: FileDataset) -> bytes:
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, pydicom.Dataset(ds), implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def _image(**attributes: object) -> FileDataset:
    return dx_from_image(np.zeros((16, 16), dtype=np.uint8), **attributes)  # type: ignore[arg-type] # keywords


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_image_is_kept_recorded_and_told(desk: Desk) -> None:
    outcome = desk.store(_image())

    assert outcome.status is StoreStatus.SUCCESS
    assert outcome.stored is not None
    assert (outcome.stored.opens_study, outcome.stored.duplicate) == (True, False)
    (arrival,) = desk.records.arrivals
    assert arrival.received_at == _NOW
    assert desk.files() == [desk.spool.root / arrival.path]


def test_the_database_away_is_no_success(desk: Desk) -> None:
    desk.records.failing = True

    assert desk.store(_image()) == StoreOutcome(status=StoreStatus.OUT_OF_RESOURCES)


def test_the_database_away_before_the_file_is_kept_leaves_no_file(desk: Desk) -> None:
    desk.records.failing = True

    assert desk.store(basic_text_sr()).status is StoreStatus.OUT_OF_RESOURCES
    assert desk.files() == []


def test_a_commit_whose_answer_was_lost_keeps_the_file_of_its_row(desk: Desk) -> None:
    desk.records.lost_commit = True
    assert desk.store(_image()).status is StoreStatus.OUT_OF_RESOURCES
    desk.records.lost_commit = False

    again = desk.store(_image())

    assert again.status is StoreStatus.SUCCESS
    (row,) = desk.records.rows.values()
    assert desk.files() == [desk.spool.root / row.path]


def test_a_commit_that_was_repeated_keeps_its_own_file(desk: Desk) -> None:
    desk.records.repeats = True

    outcome = desk.store(_image())

    assert outcome.stored is not None
    assert not outcome.stored.duplicate
    (row,) = desk.records.rows.values()
    assert desk.spool.has(row.path)


def test_a_second_copy_is_success_and_leaves_one_file(desk: Desk) -> None:
    desk.store(_image())

    outcome = desk.store(_image())

    assert outcome.stored is not None
    assert outcome.stored.duplicate
    assert len(desk.files()) == 1
    assert desk.records.counted == [("objects_duplicate", "")]


@pytest.mark.parametrize("purged", [True, False], ids=["purged", "missing"])
def test_a_second_copy_replaces_a_file_that_is_gone(desk: Desk, purged: bool) -> None:
    desk.store(_image())
    ((uid, row),) = desk.records.rows.items()
    desk.spool.remove(row.path)
    desk.records.rows[uid] = replace(row, purged=purged)

    outcome = desk.store(_image())

    assert outcome.stored is not None
    assert outcome.stored.duplicate
    assert desk.spool.has(desk.records.rows[uid].path)


def test_other_content_takes_the_place_of_what_was_there(desk: Desk) -> None:
    desk.store(_image(PatientID="WRONG"))
    ((uid, former),) = desk.records.rows.items()

    outcome = desk.store(_image(PatientID="RIGHT"))

    assert outcome.stored is not None
    assert not outcome.stored.duplicate
    kept = pydicom.dcmread(desk.spool.root / desk.records.rows[uid].path)
    assert kept.PatientID == "RIGHT"
    assert desk.spool.has(former.path), "a job may be reading it; the sweep removes it"
    assert desk.records.counted == [("objects_replaced", "")]


def test_an_object_that_a_pacs_compressed_or_added_to_is_no_other_content(desk: Desk) -> None:
    desk.store(_image())
    ((uid, row),) = desk.records.rows.items()
    desk.records.rows[uid] = replace(row, transfer_syntax_uid="1.2.840.10008.1.2.4.70", sha256="of other bytes")

    outcome = desk.store(_image())

    assert outcome.stored is not None
    assert outcome.stored.duplicate
    assert desk.records.rows[uid].path == row.path
    assert desk.records.counted == [("objects_duplicate", "")]


def test_other_bytes_take_the_place_of_what_put_a_study_aside(desk: Desk) -> None:
    desk.store(_image())
    ((uid, row),) = desk.records.rows.items()
    desk.records.rows[uid] = replace(row, sha256="of damaged bytes", state="parked")

    desk.store(_image())

    assert desk.records.rows[uid].path != row.path
    assert desk.records.counted == [("objects_replaced", "")]


def test_who_sends_it_is_no_other_content(desk: Desk) -> None:
    desk.store(_image())

    desk.store(_image(), calling_ae="ANOTHER")

    assert desk.records.counted == [("objects_duplicate", "")]


def test_content_that_another_arrival_replaced_meanwhile_is_looked_at_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.store(_image(PatientID="FIRST"))
    (uid,) = desk.records.rows
    stale = [replace(desk.records.rows[uid], path="objects/was/faster")]
    now = desk.records.stored
    monkeypatch.setattr(desk.records, "stored", lambda uid: stale.pop() if stale else now(uid))

    assert desk.store(_image(PatientID="SECOND")).status is StoreStatus.SUCCESS

    assert pydicom.dcmread(desk.spool.root / desk.records.rows[uid].path).PatientID == "SECOND"


def test_the_database_away_while_content_is_replaced_is_no_success_and_loses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.store(_image(PatientID="WRONG"))
    ((_, former),) = desk.records.rows.items()
    monkeypatch.setattr(desk.records, "record", lambda _: Recorded.DUPLICATE)
    desk.records.failing = True

    assert desk.store(_image(PatientID="RIGHT")).status is StoreStatus.OUT_OF_RESOURCES
    assert desk.spool.has(former.path)


@pytest.mark.parametrize(("state", "times"), [("withdrawn", 1), ("parked", 0), ("done", 0), (None, 0)])
def test_the_same_content_reopens_a_study_only_when_it_was_withdrawn(desk: Desk, state: str | None, times: int) -> None:
    desk.store(_image())
    ((uid, row),) = desk.records.rows.items()
    desk.records.rows[uid] = replace(row, state=state)

    assert desk.store(_image()).status is StoreStatus.SUCCESS

    assert len(desk.records.reopened) == times
    assert len(desk.files()) == 1


def test_a_known_object_whose_row_is_not_found_is_no_success(desk: Desk) -> None:
    desk.records.forgets = True

    assert desk.store(_image()).status is StoreStatus.OUT_OF_RESOURCES


def test_our_own_report_is_success_and_not_stored(desk: Desk) -> None:
    report = basic_text_sr()
    desk.records.ours.add(report.SOPInstanceUID)

    outcome = desk.store(report)

    assert outcome.status is StoreStatus.SUCCESS
    assert outcome.stored is not None
    assert not outcome.stored.opens_study
    assert (desk.files(), desk.records.arrivals) == ([], [])
    assert desk.records.counted == [("objects_own", "")]


def test_somebody_elses_report_is_stored_but_opens_nothing(desk: Desk) -> None:
    assert desk.store(basic_text_sr()).status is StoreStatus.SUCCESS

    (arrival,) = desk.records.arrivals
    assert not arrival.opens_study
    assert len(desk.files()) == 1


@pytest.mark.parametrize("announced", [{"sop_instance_uid": "1.2.3"}, {"sop_class_uid": CTImageStorage}])
def test_another_object_than_announced_is_refused(desk: Desk, announced: dict[str, str]) -> None:
    assert desk.store(_image(), **announced).status is StoreStatus.DOES_NOT_MATCH
    assert desk.files() == []


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_object_without_its_uids_is_refused(desk: Desk, keyword: str) -> None:
    ds = _image()
    announced = {"sop_instance_uid": str(ds.SOPInstanceUID)}
    del ds[keyword]

    assert desk.store(ds, **announced).status is StoreStatus.NO_IDENTIFIERS
    assert desk.files() == []
    assert desk.records.counted == [("objects_refused", "C002")]


def test_a_full_disk_is_out_of_resources(desk: Desk) -> None:
    part = desk.spool.begin(b"")
    part.failure = OSError(errno.ENOSPC, "full")
    request = StoreRequest(
        sop_class_uid="1.2", sop_instance_uid="1.3", transfer_syntax_uid="1.4", calling_ae=AeTitle("A")
    )

    assert desk.storer.store(part, request).status is StoreStatus.OUT_OF_RESOURCES
    assert desk.files() == []


def test_nothing_of_the_patient_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    ds = _image(PatientName="Planted^Patricia", PatientID="PLANTED", AccessionNumber="PLANTED2")

    with caplog.at_level(logging.DEBUG):
        desk.store(ds)
        desk.store(ds, sop_instance_uid="1.2.3")
        desk.records.failing = True
        desk.store(ds)

    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert "object.refused" in logged
    assert "lanted" not in logged.lower().replace("planted-", "")
