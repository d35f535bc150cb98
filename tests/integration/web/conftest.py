"""The rooms of the web role on a test database, and browsers with and without sign-in."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from app.web.health import Watch
from app.web.server import Rooms, create_app
from operators.domain.database import Pool
from tests.support.drafts import SetClock
from tests.support.serving import TOKEN, rooms_on, serving


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
    return replace(
        rooms_on(pool, watch, clock),
        viewer_url="https://viewer.example/?study={study_uid}",
        open_metrics=True,
        pause=pause,
    )


@pytest.fixture
def anybody(rooms: Rooms) -> Iterator[httpx.Client]:
    with serving(create_app(rooms)) as client:
        yield client


@pytest.fixture
def admin(anybody: httpx.Client) -> httpx.Client:
    answer = anybody.post("/signin", data={"token": TOKEN})
    assert answer.status_code == 303
    return anybody
