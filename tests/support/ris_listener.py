"""The listener for HL7 messages on a free port, as the receive role runs it, and what lies in its tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.roles.receive import ris_listener
from app.settings import Settings
from operators.domain.clock import SystemClock
from operators.domain.database import Pool
from operators.patients.config import PatientsConfig
from operators.ris.config import RisConfig
from operators.ris.listener import RisListener


@contextmanager
def listening(pool: Pool, patients: PatientsConfig | None = None, **settings: Any) -> Iterator[RisListener]:
    """Yield a listener that is stopped at the end; `settings` are those of section ris."""
    config = Settings(ris=RisConfig(enabled=True, port=0, **settings), patients=patients or PatientsConfig())
    listener = ris_listener(config, pool, SystemClock())
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()
