"""The web role's application: routes to the overview and the admin's hand, behind sign-in."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import overview, revisions
from app.web import api, health, pages
from app.web.access import require_metrics
from app.web.signin import SignIn
from operators.domain.clock import Clock
from operators.domain.database import Pool
from operators.domain.errors import TransientError

logger = logging.getLogger(__name__)

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_DEFECT = "The node met a defect of its own; its log names the kind."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What the routes work with; `open_metrics` lets strangers read /metrics, `pause` makes who guesses wait."""

    pool: Pool
    watch: health.Watch
    overview: overview.Overview
    revisions: revisions.Revisions
    signin: SignIn
    clock: Clock
    viewer_url: str
    open_metrics: bool = False
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep


def create_app(rooms: Rooms) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="Interval", version="1", docs_url=None, redoc_url=None)
    app.state.rooms = rooms
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.include_router(api.router)
    app.include_router(pages.router)
    _add_health(app, rooms)

    @app.middleware("http")
    async def harden(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            response = await call_next(request)
        except Exception as exc:  # noqa: BLE001 - the top of a request; what lies above answers without the headers
            logger.error("web.defect", extra={"kind": type(exc).__name__})  # noqa: TRY400 - no values in logs
            response = _defect(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(TransientError)
    async def away(request: Request, exc: TransientError) -> Response:
        if request.url.path.startswith("/api/"):
            problem = {"code": exc.code.value, "message": exc.sentence, "action": exc.action}
            return JSONResponse({"error": problem}, HTTPStatus.SERVICE_UNAVAILABLE)
        return pages.problem(request, HTTPStatus.SERVICE_UNAVAILABLE, exc.sentence, exc.action)

    return app


def _defect(request: Request) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": _DEFECT}, HTTPStatus.INTERNAL_SERVER_ERROR)
    return pages.problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, _DEFECT)


def _add_health(app: FastAPI, rooms: Rooms) -> None:
    figures = health.registry(rooms.pool, rooms.overview, rooms.watch)

    @app.get("/healthz", tags=["operation"], summary="Whether the node can work; answers without the database")
    async def healthz() -> JSONResponse:  # on the event loop: it must not queue behind pages that wait
        sight = rooms.watch.sight()
        if not sight.answers:
            away = {"status": "unavailable", "database": "away", "roles": {}}
            return JSONResponse(away, HTTPStatus.SERVICE_UNAVAILABLE)
        silent = [role for role, state in sight.roles.items() if state != "up"]
        return JSONResponse({"status": "degraded" if silent else "ok", "database": "up", "roles": sight.roles})

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Prometheus text format; needs the token where the pages are not on a loopback address",
        dependencies=[Depends(require_metrics)],
    )
    def metrics() -> Response:
        return Response(generate_latest(figures), media_type=CONTENT_TYPE_LATEST)
