"""Who presents a wrong token waits and is counted, so that guessing is slow and is seen."""

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from operators.domain.database import transaction
from operators.domain.errors import TransientError

if TYPE_CHECKING:
    from app.web.server import Rooms

PAUSE_S = 0.5

_COUNT = """
INSERT INTO counters (name, label, value) VALUES ('signin_refused', %s, 1)
ON CONFLICT (name, label) DO UPDATE SET value = counters.value + 1"""


async def hold_up(rooms: "Rooms", where: str) -> None:
    """Count a wrong token and wait; `where` it was presented is `form` or `bearer`. No other request waits."""
    await run_in_threadpool(_count, rooms, where)
    await rooms.pause(PAUSE_S)


def _count(rooms: "Rooms", where: str) -> None:
    try:
        rooms.watch.require()
        with transaction(rooms.pool) as connection:
            connection.execute(_COUNT, (where,))
    except TransientError:
        return  # the answer stays no, counted or not
