"""Who may see a route: dependencies of the API and of the pages."""

from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn, cast

from fastapi import HTTPException, Request

from app.web.guesses import hold_up
from app.web.signin import COOKIE

if TYPE_CHECKING:
    from app.web.server import Rooms


def rooms_of(request: Request) -> "Rooms":
    """Return what the routes work with."""
    return cast("Rooms", request.app.state.rooms)


def signed_in(request: Request) -> bool:
    """Whether the request carries the token or a session."""
    rooms = rooms_of(request)
    if rooms.signin.accepts_bearer(request.headers.get("authorization")):
        return True
    return rooms.signin.accepts_session(request.cookies.get(COOKIE), rooms.clock.now())


async def require_token(request: Request) -> None:
    """Let only signed-in requests pass to the API; changes need the bearer token.

    Raises HTTPException 401, after a pause for a wrong token; TransientError while the database is away.
    """
    rooms = rooms_of(request)
    bearer = rooms.signin.accepts_bearer(request.headers.get("authorization"))
    if not bearer and (request.method != "GET" or not signed_in(request)):
        await _refuse(request)
    rooms.watch.require()


async def require_metrics(request: Request) -> None:
    """Let everybody read the figures on a loopback address, elsewhere only signed-in requests; database or not.

    Raises HTTPException 401, after a pause for a wrong token.
    """
    if not rooms_of(request).open_metrics and not signed_in(request):
        await _refuse(request)


def require_session(request: Request) -> None:
    """Let only signed-in requests pass to the pages; others are sent to sign in.

    Raises HTTPException 303, TransientError while the database is away.
    """
    if not signed_in(request):
        raise HTTPException(HTTPStatus.SEE_OTHER, "Sign in first.", {"Location": "/signin"})
    rooms_of(request).watch.require()


async def _refuse(request: Request) -> NoReturn:
    if "authorization" in request.headers:
        await hold_up(rooms_of(request), "bearer")
    raise HTTPException(HTTPStatus.UNAUTHORIZED, "A token is needed.", {"WWW-Authenticate": "Bearer"})
