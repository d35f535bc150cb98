"""The web application of a test on a free port: an application enters, a browser without sign-in leaves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from app.overview import Overview
from app.postgres.ports import LOOPBACK, free_port
from app.revisions import Revisions
from app.web.health import Watch
from app.web.server import Rooms
from app.web.signin import SignIn
from operators.domain.clock import Clock
from operators.domain.database import Pool
from tests.support.peers.process import wait_until

TOKEN = "a token for tests only"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PARKED = {"stage": "encode", "reason_code": "no-readable-view", "reason": "No image is a view that the model reads."}
PATIENCE_S = 30.0


def rooms_on(pool: Pool, watch: Watch, clock: Clock) -> Rooms:
    """Return what the application works with, on a database."""
    return Rooms(
        pool=pool,
        watch=watch,
        overview=Overview(pool),
        revisions=Revisions(pool),
        signin=SignIn(TOKEN),
        clock=clock,
        viewer_url="",
    )


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
