"""PACS, RIS or database away in the middle: nothing is lost or doubled, page and health say what is going on.

And what the node made, sent back to it: no new revision, no new job. `OUTAGE_S=60` makes each outage a minute.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from app.postgres import current_url
from tests.chaos.sending import Modality
from tests.chaos.studies import StudyPlan, plan_studies, seeded
from tests.chaos.verdict import judge
from tests.chaos.victims import Kind, find_victims, kill
from tests.support.house import TOKEN, House
from tests.support.peers import RisProcess, dcmsend, open_folder, require
from tests.support.peers.process import PeerProcess, wait_until

require("Orthanc", "libOrthancDicomWeb.so", "dcmsend")
pytestmark = [pytest.mark.peer, pytest.mark.acceptance]

AWAY_S = float(os.environ.get("OUTAGE_S", "8"))  # noqa: TID251 - a choice of who runs the test, not a setting
PATIENCE_S = 120.0 + AWAY_S
HEALTH_WITHIN_S = 5.0
STUDIES = 2


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_folder() as folder, House(folder) as running:
        yield running


class Health:
    """Asks /healthz all the time, from a thread; keeps what came and what did not."""

    def __init__(self, url: str) -> None:
        self.statuses: set[int] = set()
        self.silences: list[str] = []
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Health":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            try:
                answer = httpx.get(f"{self._url}/healthz", timeout=HEALTH_WITHIN_S, trust_env=False)
            except httpx.HTTPError as exc:
                self.silences.append(type(exc).__name__)
            else:
                self.statuses.add(answer.status_code)


@contextmanager
def sending(house: House, folder: Path, name: str) -> Iterator[list[StudyPlan]]:
    """Give the PACS the priors and begin to send; in the end all must be acknowledged, done, neither lost nor twice."""
    plans = plan_studies(STUDIES, folder, seeded(name), within_s=AWAY_S, name=name)
    for plan in plans:
        house.pacs.archive.upload(plan.prior)
    modality = Modality(house.node.peer, lambda _: None)
    modality.begin(plans)
    try:
        yield plans
        assert modality.wait(PATIENCE_S)
    finally:
        modality.give_up()
    assert wait_until(lambda: all_done(house, plans), PATIENCE_S), states(house, plans)
    assert judge(house, plans, others=True).sentences() == []


def all_done(house: House, plans: Sequence[StudyPlan]) -> bool:
    rows = [row for row in rows_of(house, plans) if row["state"] == "done" and not row["waits_for"]]
    return len(rows) == len(plans) and [row["images"] for row in rows] == [plan.image_count for plan in plans]


def rows_of(house: House, plans: Sequence[StudyPlan]) -> list[dict[str, Any]]:
    """Return the API's rows of the plans, as far as it answers and knows them, in their order."""
    try:
        rows = {row["study_uid"]: row for row in house.node.get("/api/v1/studies?limit=500")}
    except httpx.HTTPError:
        return []
    return [rows[plan.study_uid] for plan in plans if plan.study_uid in rows]


def states(house: House, plans: Sequence[StudyPlan]) -> list[Any]:
    return [(row["state"], row["images"], row["waits_for"]) for row in rows_of(house, plans)]


@contextmanager
def away(peer: PeerProcess) -> Iterator[None]:
    """Take a peer away for a while."""
    gone_s = time.monotonic()
    peer.stop()
    yield
    time.sleep(max(AWAY_S - (time.monotonic() - gone_s), 0.0))
    peer.start()


def page(house: House) -> str:
    """Return the page of studies, as a signed-in browser gets it."""
    with httpx.Client(base_url=house.node.url, trust_env=False, timeout=30.0, follow_redirects=True) as browser:
        return browser.post("/signin", data={"token": TOKEN}).text


def waits_with(house: House, plans: Sequence[StudyPlan], code: str) -> Callable[[], bool]:
    return lambda: any(row["reason_code"] == code and row["waits_for"] for row in rows_of(house, plans))


def test_a_pacs_that_is_away_is_waited_for(house: House, tmp_path: Path) -> None:
    with Health(house.node.url) as health, sending(house, tmp_path, "pacs") as plans, away(house.pacs):
        assert wait_until(waits_with(house, plans, "pacs-away"), PATIENCE_S)
        assert "The PACS does not answer" in page(house)
    assert health.silences == []
    assert health.statuses == {200}
    for plan in plans:
        assert house.node.get(f"/api/v1/studies/{plan.study_uid}")["priors_outcome"] == "found"


def test_a_pacs_that_goes_away_before_the_draft_is_sent_gets_it_when_it_is_back(house: House, tmp_path: Path) -> None:
    with sending(house, tmp_path, "late") as plans:
        assert wait_until(lambda: any(row["state"] == "working" for row in rows_of(house, plans)), PATIENCE_S)
        with away(house.pacs):
            assert wait_until(lambda: "pacs-away" in codes_of(house, plans), PATIENCE_S)


def codes_of(house: House, plans: Sequence[StudyPlan]) -> set[str]:
    return {row["reason_code"] for row in rows_of(house, plans)}


def test_a_ris_that_is_away_is_waited_for(house: House, tmp_path: Path) -> None:
    with Health(house.node.url) as health, sending(house, tmp_path, "ris") as plans, away(house.ris):
        assert wait_until(waits_with(house, plans, "ris-away"), PATIENCE_S)
        waiting = [row for row in rows_of(house, plans) if row["reason_code"] == "ris-away"]
        assert {row["state"] for row in waiting} == {"delivering"}
        assert "The RIS does not answer" in page(house)
    assert health.silences == []
    assert health.statuses == {200}


def test_a_worker_killed_before_the_acknowledgement_sends_the_same_bytes_again(house: House, tmp_path: Path) -> None:
    mute = RisProcess(house.ris.log_path.parent, port=house.ris.port, options=("--answer", "silent"))
    known = len(house.ris.messages)
    with sending(house, tmp_path, "mute"):
        house.ris.stop()
        with mute:
            mute.wait_for(known + 1, PATIENCE_S)
            (worker,) = (one for one in find_victims(house.node.pid, house.node.state_dir) if one.kind is Kind.WORK)
            kill(worker)
        house.ris.start()
    repeated = house.ris.messages[known].control_id
    times = [message.control_id for message in house.ris.messages].count(repeated)
    assert times > 1
    assert len(house.ris.distinct()[repeated]) == 1


def test_a_database_that_is_away_is_waited_for(house: House, tmp_path: Path) -> None:
    with Health(house.node.url) as health, sending(house, tmp_path, "base") as plans, database_away(house):
        assert wait_until(lambda: says_database_away(house), PATIENCE_S)
        assert "The database does not answer." in page(house)
    assert health.silences == []
    assert health.statuses == {200, 503}
    assert wait_until(lambda: house.node.health().get("status") == "ok", PATIENCE_S)
    assert len(plans) == STUDIES


@contextmanager
def database_away(house: House) -> Iterator[None]:
    """Kill the database and hold the hand that would start it again."""
    os.kill(house.node.pid, signal.SIGSTOP)
    try:
        for victim in find_victims(house.node.pid, house.node.state_dir):
            if victim.kind is Kind.POSTMASTER:
                kill(victim)
        gone_s = time.monotonic()
        yield
        time.sleep(max(AWAY_S - (time.monotonic() - gone_s), 0.0))
    finally:
        os.kill(house.node.pid, signal.SIGCONT)


def says_database_away(house: House) -> bool:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{house.node.url}/api/v1/studies", headers=headers, timeout=30.0, trust_env=False)
    return answer.status_code == 503 and answer.json()["error"]["code"] == "database-away"


def test_what_the_node_made_opens_nothing_when_it_is_sent_back(house: House, tmp_path: Path) -> None:
    with sending(house, tmp_path / "sent", "echo") as plans:
        pass
    before = counts(house)
    for plan in plans:
        stored = house.pacs.archive.instances(plan.study_uid)
        assert {one.modality for one in stored} >= {"SR", "DOC"}
        returned = [tmp_path / f"{one.sop_instance_uid}.dcm" for one in stored]
        for one, path in zip(stored, returned, strict=True):
            path.write_bytes(house.pacs.archive.download(one))
        assert dcmsend([*returned, *plan.images], house.node.peer).all_stored
    time.sleep(4.0)  # several times the quiet time, after which a revision would be closed
    assert counts(house) == before
    assert [row["state"] for row in rows_of(house, plans)] == ["done"] * STUDIES
    events = httpx.get(f"{house.node.url}/metrics", timeout=30.0, trust_env=False).text
    own = re.search(r'interval_events_total\{label="",name="objects_own"\} ([0-9.]+)', events)
    assert own is not None
    assert float(own[1]) >= 2 * STUDIES


def counts(house: House) -> dict[str, int]:
    """Return how many revisions, images, results and deliveries there are, and how many jobs there ever were."""
    url = current_url(house.node.state_dir / "postgres")
    assert url is not None
    with psycopg.connect(url) as connection:
        found = {}
        for name, question in (
            ("revisions", "SELECT count(*) FROM revisions"),
            ("images", "SELECT count(*) FROM instances"),
            ("results", "SELECT count(*) FROM results"),
            ("deliveries", "SELECT count(*) FROM outbox"),
            ("jobs", "SELECT last_value FROM procrastinate_jobs_id_seq"),
        ):
            row = connection.execute(question.encode()).fetchone()
            assert row is not None
            found[name] = int(row[0])
    return found


def test_no_log_names_a_patient_or_a_study(house: House) -> None:
    """Runs last, over all that the tests before it did."""
    rows = house.node.get("/api/v1/studies?limit=500")
    assert rows
    planted = {"Planned", "19500101", "INTERVAL-TEST"}
    for row in rows:
        planted |= {row["patient_id"], row["patient_name"], row["accession_number"], row["study_uid"]}
    for log in (house.node.log_path, house.node.state_dir / "postgres" / "postgres.log"):
        text = log.read_text(encoding="utf-8", errors="replace")
        assert [word for word in planted if word in text] == []
    assert "study.filed" in house.node.log_path.read_text(encoding="utf-8")
