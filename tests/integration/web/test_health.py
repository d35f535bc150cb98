"""Health and metrics on a real database, and what is said when the database is away."""

import os
import re
import signal
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.beats import Beats
from app.migrate import migrate
from app.postgres.postmaster import cluster_processes
from app.web.health import Watch
from app.web.server import Rooms, create_app
from operators.domain.clock import SystemClock
from operators.domain.database import Pool, open_pool, transaction
from tests.support.drafts import SetClock
from tests.support.peers import fresh_postgres
from tests.support.peers.process import wait_until
from tests.support.serving import BEARER, PARKED, PATIENCE_S, rooms_on, serving
from tests.support.working import job_of, put_revision

pytestmark = pytest.mark.peer


def test_health_names_roles_that_are_silent(anybody: httpx.Client, rooms: Rooms, pool: Pool) -> None:
    beats = Beats(pool, "work")
    beats.start()
    assert wait_until(lambda: looked(rooms) == {"work": "up"}, PATIENCE_S)
    assert anybody.get("/healthz").json() == {"status": "ok", "database": "up", "roles": {"work": "up"}}
    with transaction(pool) as connection:
        connection.execute("INSERT INTO role_beats VALUES ('receive', 'h', 1, now(), now() - interval '1 minute')")
    rooms.watch.look()
    answer = anybody.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["roles"] == {"receive": "silent", "work": "up"}
    beats.stop()
    assert looked(rooms) == {"receive": "silent"}


@pytest.mark.parametrize(("silent_s", "shown"), [(7, "up"), (11, "silent")])
def test_a_role_counts_as_silent_ten_seconds_after_its_last_beat(
    rooms: Rooms, pool: Pool, silent_s: int, shown: str
) -> None:
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO role_beats VALUES ('work', 'h', 1, now(), now() - make_interval(secs => %s))", (silent_s,)
        )
    assert looked(rooms) == {"work": shown}


def test_a_role_that_has_been_dead_for_days_is_still_named(anybody: httpx.Client, rooms: Rooms, pool: Pool) -> None:
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO role_beats VALUES ('receive', 'h', 1, now(), now() - interval '3 days'), "
            "('work', 'h', 2, now(), now() - interval '2 days')"
        )
    beats = Beats(pool, "work")
    beats.start()  # each beat also forgets old ones
    assert wait_until(lambda: looked(rooms).get("work") == "up", PATIENCE_S)
    beats.stop()
    rooms.watch.look()
    answer = anybody.get("/healthz").json()
    assert (answer["status"], answer["roles"]["receive"]) == ("degraded", "silent")


def looked(rooms: Rooms) -> dict[str, str]:
    rooms.watch.look()
    return rooms.watch.sight().roles


def test_a_look_that_hangs_counts_as_a_database_that_is_away(
    anybody: httpx.Client, rooms: Rooms, clock: SetClock
) -> None:
    assert rooms.watch.sight().answers
    clock.pass_s(6.0)
    assert not rooms.watch.sight().answers
    assert anybody.get("/healthz").status_code == 503


def test_without_the_database_api_and_page_say_so_at_once(admin: httpx.Client, clock: SetClock) -> None:
    clock.pass_s(6.0)
    answer = admin.get("/api/v1/studies", headers=BEARER)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "database-away"
    assert answer.json()["error"]["message"] == "The database does not answer."
    page = admin.get("/")
    assert page.status_code == 503
    assert "The database does not answer." in page.text
    assert "interval_up 0.0" in admin.get("/metrics").text


def test_metrics_count_studies_events_and_documents(anybody: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of(), "parked", **PARKED)
    with transaction(pool) as connection:
        connection.execute("INSERT INTO counters VALUES ('objects_duplicate', '', 3)")
        connection.execute("INSERT INTO refusals VALUES ('STRANGER', 'INTERVAL', 'calling-ae', 2, now())")
        connection.execute("INSERT INTO documents VALUES ('1.9', '1.2.3', 1, 'sr', '', '', '', now())")
        connection.execute(
            "INSERT INTO outbox (study_uid, revision, destination, kind, identity, created_at) "
            "VALUES ('1.2.3', 1, 'pacs', 'sr', '1.9', now() - interval '90 seconds')"
        )
    text = anybody.get("/metrics").text
    assert "interval_up 1.0" in text
    assert 'interval_studies{state="parked"} 1.0' in text
    assert 'interval_events_total{label="",name="objects_duplicate"} 3.0' in text
    assert 'interval_refused_total{calling_ae="STRANGER",reason="calling-ae"} 2.0' in text
    assert 'interval_outbox{destination="pacs",state="waiting"} 1.0' in text
    oldest = re.search(r'interval_outbox_oldest_seconds\{destination="pacs"\} ([0-9.]+)', text)
    assert oldest is not None
    assert float(oldest[1]) >= 90.0


def test_names_that_peers_invent_do_not_grow_the_metrics(anybody: httpx.Client, pool: Pool) -> None:
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO refusals SELECT 'AE' || n, 'INTERVAL', 'calling-ae', n, now() FROM generate_series(1, 80) n"
        )
        connection.execute("INSERT INTO refusals VALUES ('AE1', 'INTERVAL', 'called-ae', 1000, now())")
    lines = [line for line in anybody.get("/metrics").text.splitlines() if line.startswith("interval_refused_total{")]
    assert len(lines) == 50 + 2  # a second reason of AE1, and the rest
    assert 'interval_refused_total{calling_ae="AE1",reason="called-ae"} 1000.0' in lines
    assert 'interval_refused_total{calling_ae="AE80",reason="calling-ae"} 80.0' in lines
    rest = sum(range(2, 32))  # AE1 and AE32 to AE80 were refused most
    assert f'interval_refused_total{{calling_ae="other",reason="calling-ae"}} {float(rest)}' in lines


def test_health_answers_while_the_database_hangs_and_returns_when_it_does() -> None:
    """Frozen, not killed: connections stay open and no answer comes, as with a dead disk or a lost network."""
    with fresh_postgres() as server:
        url = server.start()
        migrate(url)
        with open_pool(url, max_size=4) as pool, open_pool(url, max_size=1, wait_s=1.0) as watch_pool:
            clock = SystemClock()
            watch = Watch(watch_pool, clock)
            watch.start()
            with serving(create_app(rooms_on(pool, watch, clock))) as client:
                assert wait_until(lambda: client.get("/healthz").status_code == 200, PATIENCE_S)
                frozen = frozen_processes(url)
                try:
                    hanging = [
                        threading.Thread(target=patient_get, args=(f"{client.base_url}/api/v1/studies",))
                        for _ in range(50)
                    ]
                    for thread in hanging:
                        thread.start()
                    client.timeout = httpx.Timeout(10.0)  # health must not queue behind them
                    assert wait_until(lambda: client.get("/healthz").status_code == 503, PATIENCE_S)
                finally:
                    send(signal.SIGCONT, frozen)
                client.timeout = httpx.Timeout(PATIENCE_S)
                for thread in hanging:
                    thread.join(PATIENCE_S)
                assert wait_until(lambda: client.get("/healthz").status_code == 200, PATIENCE_S)
                assert client.get("/api/v1/studies", headers=BEARER).status_code == 200
            watch.stop()


def frozen_processes(url: str) -> list[int]:
    with open_pool(url, max_size=1) as pool, transaction(pool) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    pids = cluster_processes(Path(row["data_directory"]))
    send(signal.SIGSTOP, pids)
    return pids


def send(what: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # the server of the connection that asked for the folder ends meanwhile
            os.kill(pid, what)


def patient_get(url: str) -> None:
    httpx.get(url, headers=BEARER, timeout=2 * PATIENCE_S, trust_env=False)
