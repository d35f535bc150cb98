"""The web role: pages, API, health and metrics."""

import logging
import secrets
import socket
import threading
from pathlib import Path

import uvicorn

from app import signals
from app.beats import Beats
from app.overview import Overview
from app.revisions import Revisions
from app.settings import Settings
from app.web.config import SHORTEST_TOKEN
from app.web.health import Watch
from app.web.server import Rooms, create_app
from app.web.signin import SignIn
from operators.domain.clock import SystemClock
from operators.domain.database import open_pool
from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

_LAST_ANSWERS_S = 5


def serve(settings: Settings) -> None:
    """Serve until a stop signal. Raises ConfigError for what cannot be used."""
    _refuse_taken(settings.web.bind, settings.web.port)
    clock = SystemClock()
    with (
        open_pool(settings.database_url, max_size=8, wait_s=2.0) as pool,
        open_pool(settings.database_url, max_size=1, wait_s=1.0) as watch_pool,
    ):
        overview = Overview(pool)
        watch = Watch(watch_pool, clock)
        rooms = Rooms(
            pool=pool,
            watch=watch,
            overview=overview,
            revisions=Revisions(pool),
            signin=SignIn(web_token(settings)),
            clock=clock,
            viewer_url=settings.web.viewer_url,
            open_metrics=settings.web.is_loopback,
        )
        config = uvicorn.Config(
            create_app(rooms),
            host=settings.web.bind,
            port=settings.web.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
        )
        server = uvicorn.Server(config)
        ended = threading.Event()

        def stop() -> None:
            server.should_exit = True

        watcher = signals.on_stop(stop, ended)
        beats = Beats(pool, "web")
        watch.start()
        beats.start()
        server.run()
        ended.set()
        watcher.join()
        watch.stop()
        beats.stop()


def _refuse_taken(bind: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as exc:
            raise ConfigError(f"The web port {port} on {bind} is taken.", ReasonCode.PORT_IN_USE) from exc


def web_token(settings: Settings) -> str:
    """Return the token of sign-in: the setting's, or one made at the first start and kept in the state folder.

    Raises ConfigError when the file holds none: an empty token would let everybody in.
    """
    if settings.web.token:
        return settings.web.token
    path = token_path(settings)
    if path.is_file():
        return _kept_token(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_urlsafe(24)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600, exist_ok=False)
    part.write_text(token + "\n", encoding="ascii")
    part.replace(path)
    logger.info("web.token_made", extra={"path": str(path)})
    return token


def _kept_token(path: Path) -> str:
    token = path.read_text(encoding="utf-8", errors="replace").strip()
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(f"{path}: holds no token of {SHORTEST_TOKEN} characters; remove it and a new one is made")
    return token


def token_path(settings: Settings) -> Path:
    """Return where a generated token is kept."""
    return settings.node.state_dir / "web_token"
