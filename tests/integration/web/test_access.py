"""Who gets in: tokens, sessions, guesses, and what every answer carries."""

from dataclasses import replace
from typing import NoReturn

import httpx
import pytest

from app.overview import Overview
from app.web.guesses import PAUSE_S
from app.web.server import _HEADERS, Rooms, create_app
from app.web.signin import COOKIE, SESSION
from tests.support.drafts import SetClock
from tests.support.serving import BEARER, TOKEN, serving

pytestmark = pytest.mark.peer


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
