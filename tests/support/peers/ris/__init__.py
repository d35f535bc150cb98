"""A RIS that takes HL7 v2 over MLLP, strictly, and remembers every message before it answers."""

from tests.support.peers.ris.journal import RisMessage, read_journal
from tests.support.peers.ris.peer import Answer, RisPeer
from tests.support.peers.ris.process import RisProcess

__all__ = ["Answer", "RisMessage", "RisPeer", "RisProcess", "read_journal"]
