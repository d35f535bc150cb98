"""Whether a message is taken at all: its header and the settings enter; it passes, or is refused. Pure."""

from collections.abc import Container

from operators.domain.hl7.message import Header, check_header
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from operators.ris.config import RisConfig


def judge(header: Header, config: RisConfig, types: Container[str]) -> None:
    """Raise MessageRefusedError for a header that lacks something, an unwelcome sender, or an unknown message type."""
    check_header(header)
    if header.component(11, 1) not in config.processing_ids:
        raise MessageRefusedError(RefusalReason.PROCESSING_ID)
    if not config.takes_from(*header.sender):
        raise MessageRefusedError(RefusalReason.SENDER)
    if header.kind[0] not in types:
        raise MessageRefusedError(RefusalReason.MESSAGE_TYPE)
