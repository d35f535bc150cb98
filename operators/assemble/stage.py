"""What the sink of the receive role does with each item: look for studies to close, not more often than configured."""

import logging
from collections.abc import Callable
from datetime import datetime

from operators.assemble.config import AssembleConfig
from operators.domain.clock import Clock
from operators.domain.errors import NodeError
from operators.domain.messages import StoredInstance, StudyJob

logger = logging.getLogger(__name__)


class AssembleStage:
    """Takes what was stored since the last item; an empty item says that time has passed."""

    def __init__(
        self, *, close_due: Callable[[datetime], tuple[StudyJob, ...]], clock: Clock, config: AssembleConfig
    ) -> None:
        self._close_due = close_due
        self._clock = clock
        self._config = config
        self._looked_at_s: float | None = None

    def __call__(self, stored: tuple[StoredInstance, ...]) -> tuple[StudyJob, ...]:
        """Close what is due; the jobs that were enqueued. A database that is away is waited out."""
        del stored  # the rows are the truth; an item only says that it is time to look
        if self._looked_at_s is not None:
            since_s = self._clock.monotonic_s() - self._looked_at_s
            if since_s < self._config.check_every_s:
                return ()
        try:
            return self._close_due(self._clock.now())
        except NodeError as error:
            logger.warning("assemble.waits", extra={"code": error.code.value, "reason": error.sentence})
            return ()
        finally:
            # Counted from the end: the items that came while the database was waited for need no look of their own.
            self._looked_at_s = self._clock.monotonic_s()
