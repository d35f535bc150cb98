"""Pages, API, health and metrics on a real database: who gets in, what is shown, what happens without the database."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.beats import Beats
from app.migrate import migrate
from app.overview import Overview
from app.postgres.ports import LOOPBACK, free_port
from app.postgres.postmaster import cluster_processes
from app.revisions import Revisions
from app.web.guesses import PAUSE_S
from app.web.health import Watch
from app.web.server import _HEADERS, Rooms, create_app
from app.web.signin import COOKIE, SESSION, SignIn
from operators.domain.clock import SystemClock
from operators.domain.database import Pool, open_pool, transaction
from tests.support.drafts import SetClock
from tests.support.peers import fresh_postgres
from tests.support.peers.process import wait_until
from tests.support.working import job_of, put_revision, queued_jobs, revision_row

pytestmark = pytest.mark.peer

TOKEN = "a token for tests only"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PARKED = {"stage": "encode", "reason_code": "no-readable-view", "reason": "No image is a view that the model reads."}
PATIENCE_S = 30.0


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime.now(UTC))


@pytest.fixture
def pauses() -> list[float]:
    """Seconds that those who presented wrong tokens would have waited."""
    return []


@pytest.fixture
def rooms(pool: Pool, clock: SetClock, pauses: list[float]) -> Rooms:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    watch = Watch(pool, clock)
    watch.look()
    return Rooms(
        pool=pool,
        watch=watch,
        overview=Overview(pool),
        revisions=Revisions(pool),
        signin=SignIn(TOKEN),
        clock=clock,
        viewer_url="https://viewer.example/?study={study_uid}",
        open_metrics=True,
        pause=pause,
    )


@pytest.fixture
def anybody(rooms: Rooms) -> Iterator[httpx.Client]:
    with serving(create_app(rooms)) as client:
        yield client


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve the application on a free port; yield a browser without sign-in."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert wait_until(lambda: server.started, PATIENCE_S)
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, timeout=PATIENCE_S) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def admin(anybody: httpx.Client) -> httpx.Client:
    answer = anybody.post("/signin", data={"token": TOKEN})
    assert answer.status_code == 303
    return anybody


def form_token(client: httpx.Client, path: str = "/") -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', client.get(path).text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/studies"),
        ("GET", "/api/v1/studies/1.2.3"),
        ("POST", "/api/v1/studies/1.2.3/retry"),
        ("POST", "/api/v1/studies/1.2.3/discard"),
    ],
)
@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_the_api_opens_to_the_token_alone(anybody: httpx.Client, method: str, path: str, given: dict[str, str]) -> None:
    answer = anybody.request(method, path, headers=given)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/studies/1.2.3", "/studies/1.2.3/draft.pdf"])
def test_pages_send_strangers_to_sign_in(anybody: httpx.Client, path: str) -> None:
    answer = anybody.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/signin")


def test_a_wrong_token_does_not_sign_in(anybody: httpx.Client) -> None:
    answer = anybody.post("/signin", data={"token": "wrong"})
    assert answer.status_code == 401
    assert COOKIE not in answer.cookies


def test_who_guesses_tokens_waits_and_is_counted(anybody: httpx.Client, pauses: list[float]) -> None:
    anybody.post("/signin", data={"token": "wrong"})
    for _ in range(2):
        anybody.get("/api/v1/studies", headers={"Authorization": "Bearer wrong"})
    assert pauses == [PAUSE_S] * 3
    text = anybody.get("/metrics").text
    assert 'interval_events_total{label="form",name="signin_refused"} 1.0' in text
    assert 'interval_events_total{label="bearer",name="signin_refused"} 2.0' in text


def test_nobody_else_waits(anybody: httpx.Client, pauses: list[float]) -> None:
    assert anybody.get("/api/v1/studies").status_code == 401
    assert anybody.get("/api/v1/studies", headers=BEARER).status_code == 200
    assert anybody.post("/signin", data={"token": TOKEN}).status_code == 303
    assert pauses == []


def test_a_wrong_token_is_refused_while_the_database_is_away(
    anybody: httpx.Client, clock: SetClock, pauses: list[float]
) -> None:
    clock.pass_s(6.0)
    assert anybody.post("/signin", data={"token": "wrong"}).status_code == 401
    assert pauses == [PAUSE_S]


def test_metrics_of_an_open_network_need_the_token(rooms: Rooms, clock: SetClock) -> None:
    with serving(create_app(replace(rooms, open_metrics=False))) as client:
        for given in ({}, {"Authorization": "Bearer wrong"}):
            answer = client.get("/metrics", headers=given)
            assert answer.status_code == 401
            assert "interval_up" not in answer.text
        assert "interval_up 1.0" in client.get("/metrics", headers=BEARER).text
        clock.pass_s(6.0)
        assert "interval_up 0.0" in client.get("/metrics", headers=BEARER).text
        assert client.get("/healthz").status_code == 503


class Defective(Overview):
    def studies(self, **asked: object) -> NoReturn:
        raise ValueError("DOE^JANE")


@pytest.mark.parametrize("path", ["/", "/api/v1/studies"])
def test_a_defect_is_answered_with_the_headers_and_without_values(rooms: Rooms, path: str) -> None:
    with serving(create_app(replace(rooms, overview=Defective(rooms.pool)))) as client:
        client.post("/signin", data={"token": TOKEN})
        answer = client.get(path)
        assert answer.status_code == 500
        assert "The node met a defect of its own" in answer.text
        assert "DOE" not in answer.text
        for name, value in _HEADERS.items():
            assert answer.headers[name] == value


def test_a_session_is_kept_from_scripts_and_other_sites_and_ends(anybody: httpx.Client, clock: SetClock) -> None:
    answer = anybody.post("/signin", data={"token": TOKEN})
    said = answer.headers["Set-Cookie"]
    assert "HttpOnly" in said
    assert "SameSite=strict" in said
    assert anybody.get("/").status_code == 200
    clock.at += SESSION
    assert anybody.get("/").status_code == 303


def test_signing_out_ends_the_session_in_this_browser(admin: httpx.Client) -> None:
    admin.post("/signout")
    assert admin.get("/").status_code == 303


@pytest.mark.parametrize("path", ["/", "/signin", "/healthz", "/metrics", "/api/v1/studies", "/static/house.css", "/x"])
def test_every_answer_carries_the_security_headers(admin: httpx.Client, path: str) -> None:
    headers = admin.get(path).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_page_says_what_is_parked_why_and_what_to_do(admin: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of(), "parked", **PARKED)
    for path in ("/", "/studies/1.2.3"):
        page = admin.get(path).text
        assert PARKED["reason"] in page
        assert "Check View Position at the modality" in page
        assert "Retry" in page
        assert "Discard" in page


def test_names_cannot_bring_markup_into_a_page(admin: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of())
    with transaction(pool) as connection:
        connection.execute("UPDATE studies SET patient_name = '<script>alert(1)</script>'")
    for path in ("/", "/studies/1.2.3"):
        page = admin.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


def test_a_form_of_the_session_retries_and_discards(admin: httpx.Client, pool: Pool) -> None:
    job = put_revision(pool, job_of(), "parked", **PARKED)
    token = form_token(admin)
    answer = admin.post("/studies/1.2.3/discard", data={"form_token": token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/studies/1.2.3")
    assert revision_row(pool, job)["state"] == "withdrawn"
    assert admin.post("/studies/1.2.3/retry", data={"form_token": token}).status_code == 303
    assert revision_row(pool, job)["state"] == "queued"
    assert len(queued_jobs(pool)) == 1


@pytest.mark.parametrize("wish", ["retry", "discard"])
@pytest.mark.parametrize("form", [{}, {"form_token": ""}, {"form_token": "0" * 64}])
def test_a_form_of_another_site_changes_nothing(
    admin: httpx.Client, pool: Pool, wish: str, form: dict[str, str]
) -> None:
    job = put_revision(pool, job_of(), "parked", **PARKED)
    assert admin.post(f"/studies/1.2.3/{wish}", data=form).status_code == 403
    assert revision_row(pool, job)["state"] == "parked"


def test_a_session_reads_the_api_but_changes_need_the_token(admin: httpx.Client, pool: Pool) -> None:
    job = put_revision(pool, job_of(), "parked", **PARKED)
    assert admin.get("/api/v1/studies").status_code == 200
    assert admin.post("/api/v1/studies/1.2.3/discard").status_code == 401
    assert revision_row(pool, job)["state"] == "parked"


def test_the_api_retries_discards_and_says_why_it_does_not(anybody: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of(), "parked", **PARKED)
    assert anybody.post("/api/v1/studies/1.2.3/retry", headers=BEARER).json() == {"status": "queued"}
    refused = anybody.post("/api/v1/studies/1.2.3/retry", headers=BEARER)
    assert refused.status_code == 409
    assert "its state is queued" in refused.text
    assert anybody.post("/api/v1/studies/1.2.3/discard", headers=BEARER).status_code == 409


def test_the_api_lists_and_filters(anybody: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of("1.2.3"), "parked", **PARKED)
    put_revision(pool, job_of("1.2.4"), "queued")
    rows = anybody.get("/api/v1/studies", headers=BEARER).json()
    assert {row["study_uid"] for row in rows} == {"1.2.3", "1.2.4"}
    (row,) = anybody.get("/api/v1/studies?state=parked", headers=BEARER).json()
    assert (row["study_uid"], row["reason_code"], row["waits_for"]) == ("1.2.3", "no-readable-view", PARKED["reason"])
    assert len(anybody.get("/api/v1/studies?limit=1&offset=1", headers=BEARER).json()) == 1


@pytest.mark.parametrize("path", ["/api/v1/studies?state=lost", "/api/v1/studies?limit=0", "/api/v1/studies/abc"])
def test_a_question_that_cannot_be_meant_is_refused(anybody: httpx.Client, path: str) -> None:
    assert anybody.get(path, headers=BEARER).status_code == 422


def test_what_is_unknown_is_not_found(admin: httpx.Client) -> None:
    assert admin.get("/api/v1/studies/1.2.99").status_code == 404
    assert admin.get("/studies/1.2.99").status_code == 404
    assert admin.get("/studies/1.2.99/draft.pdf").status_code == 404


def test_the_api_describes_itself(anybody: httpx.Client) -> None:
    described = anybody.get("/openapi.json").json()
    assert {"/api/v1/studies", "/api/v1/studies/{study_uid}", "/healthz"} <= set(described["paths"])


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
            app = create_app(
                Rooms(
                    pool=pool,
                    watch=watch,
                    overview=Overview(pool),
                    revisions=Revisions(pool),
                    signin=SignIn(TOKEN),
                    clock=clock,
                    viewer_url="",
                )
            )
            with serving(app) as client:
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
                    for pid in frozen:
                        os.kill(pid, signal.SIGCONT)
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
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def patient_get(url: str) -> None:
    httpx.get(url, headers=BEARER, timeout=2 * PATIENCE_S, trust_env=False)
