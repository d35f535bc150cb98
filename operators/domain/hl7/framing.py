"""MLLP blocks: bytes as they come off the wire enter, the contents of whole blocks leave, and the other way round.

HL7 v2.5.1 Appendix C (Minimal Lower Layer Protocol).
"""

from typing import Final

BLOCK_START: Final = b"\x0b"
BLOCK_END: Final = b"\x1c\x0d"


class BlockTooLargeError(ValueError):
    """A block grew past what is taken; `beginning` is the start of its content."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__("the block is too large")
        self.beginning = beginning


def block(message: bytes) -> bytes:
    """Wrap one message in a block. Raises ValueError when the message holds the block's own delimiters."""
    if BLOCK_START in message or BLOCK_END[:1] in message:
        raise ValueError("the message holds a delimiter of the block")
    return BLOCK_START + message + BLOCK_END


class BlockBuffer:
    """Collects bytes in any portions and gives back whole blocks; what stands between blocks is skipped (but counts).

    A block that begins again before it ended was cut off by its sender: what came after the last beginning counts.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = bytearray()
        self._looked = 0

    @property
    def is_inside(self) -> bool:
        """Whether a block has begun and not ended."""
        return BLOCK_START in self._held

    def feed(self, portion: bytes) -> list[bytes]:
        """Take a portion; return the contents of the blocks that it completes. Raises BlockTooLargeError."""
        self._held += portion
        blocks = []
        while (end := self._held.find(BLOCK_END, self._looked)) >= 0:
            whole = bytes(self._held[:end])
            del self._held[: end + len(BLOCK_END)]
            self._looked = 0
            _, start, content = whole.rpartition(BLOCK_START)
            if start:
                blocks.append(self._checked(content))
        self._looked = max(len(self._held) - 1, 0)
        self._checked(self._held)
        return blocks

    def _checked(self, content: bytes | bytearray) -> bytes:
        if len(content) > self._most_bytes:
            raise BlockTooLargeError(bytes(content[: self._most_bytes]).rpartition(BLOCK_START)[2])
        return bytes(content) if isinstance(content, bytearray) else content
