"""The inbox: a message enters; it is kept and what it says is done, in one transaction, before its answer leaves.

A repetition of an accepted message (same sender, same control ID, same content but for MSH-7) is accepted again and
changes nothing. A refused message is kept with its reason, and judged anew when it comes again: the cause may be gone.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from operators.domain.database import Connection, Pool, transaction
from operators.domain.hl7.message import Message
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from operators.domain.ids import pseudonym

logger = logging.getLogger(__name__)

# A message that waits for a lock longer than its sender waits for the answer would come again meanwhile.
_PATIENCE = "SELECT set_config('lock_timeout', '8s', true)"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('interval.hl7.' || %s, 0))"
_KNOWN = """
SELECT inbox_id, answer FROM hl7_inbox WHERE sender = %(sender)s AND control_id = %(control_id)s
AND fingerprint = %(fingerprint)s"""
_KEEP = """
INSERT INTO hl7_inbox (sender, control_id, fingerprint, message_type, content, peer, answer, received_at, last_at)
VALUES (%(sender)s, %(control_id)s, %(fingerprint)s, %(message_type)s, %(content)s, %(peer)s, 'AA', %(at)s, %(at)s)
ON CONFLICT (sender, control_id, fingerprint) DO UPDATE SET
    answer = 'AA', refusal = NULL, times = hl7_inbox.times + 1, last_at = excluded.last_at, peer = excluded.peer
RETURNING inbox_id"""
_AGAIN = "UPDATE hl7_inbox SET times = times + 1, last_at = %s WHERE inbox_id = %s"
_REFUSE = "UPDATE hl7_inbox SET answer = %s, refusal = %s WHERE inbox_id = %s"
_COUNT = """
INSERT INTO counters (name, label, value) VALUES ('hl7_messages', %s, 1)
ON CONFLICT (name, label) DO UPDATE SET value = counters.value + 1"""
_FORGET = "DELETE FROM hl7_inbox WHERE last_at < %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message as it came: its bytes, from what address, and when."""

    message: Message
    content: bytes
    peer: str
    at: datetime

    @property
    def sender(self) -> str:
        """MSH-3 and MSH-4 as one text."""
        header = self.message.header
        return f"{header.field(3)}|{header.field(4)}"


class Taker(Protocol):
    """Does what messages of one type say."""

    def __call__(self, connection: Connection, message: Message, *, inbox_id: int, sender: str) -> None:
        """Do it within the caller's transaction. Raises MessageRefusedError."""
        ...


class RisInbox:
    """Table hl7_inbox. Every method raises TransientError(DATABASE_AWAY) when the database is away."""

    def __init__(self, pool: Pool, takers: Mapping[str, Taker]) -> None:
        """Take who serves which message type (MSH-9.1)."""
        self._pool = pool
        self._takers = takers

    @property
    def types(self) -> frozenset[str]:
        """Message types that are taken."""
        return frozenset(self._takers)

    def take(self, letter: Letter) -> RefusalReason | None:
        """Keep the message and do what it says; return why not, or None."""
        header = letter.message.header
        values = {
            "sender": letter.sender,
            "control_id": header.control_id,
            "fingerprint": letter.message.fingerprint,
            "message_type": "^".join(header.kind),
            "content": letter.content,
            "peer": letter.peer,
            "at": letter.at,
        }
        with transaction(self._pool) as connection:
            connection.execute(_PATIENCE)
            connection.execute(_LOCK, (f"{letter.sender}|{header.control_id}",))
            known = connection.execute(_KNOWN, values).fetchone()
            is_again = known is not None and known["answer"] == "AA"
            if known is not None and is_again:
                connection.execute(_AGAIN, (letter.at, known["inbox_id"]))
                refused = None
            else:
                kept = connection.execute(_KEEP, values).fetchone()
                refused = self._do(connection, letter, kept["inbox_id"] if kept else 0)
            answer = refused.value.answer if refused else "AA"
            connection.execute(_COUNT, (answer,))
        facts = {"control": pseudonym(header.control_id), "kind": values["message_type"], "again": is_again}
        logger.info("ris.answered", extra={**facts, "answer": answer, "reason": refused.name if refused else ""})
        return refused

    def forget_before(self, moment: datetime) -> int:
        """Remove messages that last came before a moment; return how many."""
        with transaction(self._pool) as connection:
            return connection.execute(_FORGET, (moment,)).rowcount

    def _do(self, connection: Connection, letter: Letter, inbox_id: int) -> RefusalReason | None:
        taker = self._takers[letter.message.header.kind[0]]
        try:
            with connection.transaction():
                taker(connection, letter.message, inbox_id=inbox_id, sender=letter.sender)
        except MessageRefusedError as refused:
            connection.execute(_REFUSE, (refused.reason.value.answer, refused.reason.name, inbox_id))
            return refused.reason
        return None
