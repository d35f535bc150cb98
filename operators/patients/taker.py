"""Takes ADT messages out of the inbox: a message enters, the merges that it orders are made, or it is refused."""

from operators.domain.clock import Clock
from operators.domain.database import Connection
from operators.domain.hl7.message import Message
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from operators.patients.adt import is_merge, merges_of, written_out
from operators.patients.chains import MergeProblem, MergeRefusedError
from operators.patients.config import PatientsConfig
from operators.patients.merges import Origin, merge

_REFUSALS = {
    MergeProblem.CIRCULAR: RefusalReason.CIRCULAR,
    MergeProblem.CONFLICT: RefusalReason.CONFLICT,
}


class AdtTaker:
    """Serves message type ADT."""

    def __init__(self, config: PatientsConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock

    def __call__(self, connection: Connection, message: Message, *, inbox_id: int, sender: str) -> None:
        """Merge within the caller's transaction. Raises MessageRefusedError, TransientError."""
        if not is_merge(message, self._config):
            return
        header = message.header
        origin = Origin(
            source="hl7",
            who=sender,
            at=self._clock.now(),
            message=f"{'^'.join(header.kind)} {header.control_id}",
            inbox_id=inbox_id,
        )
        for order in merges_of(message, self._config):
            for written in written_out(order, self._config):
                try:
                    merge(connection, written.former, written.survivor, origin)
                except MergeRefusedError as refused:
                    raise MessageRefusedError(_REFUSALS[refused.problem]) from refused
