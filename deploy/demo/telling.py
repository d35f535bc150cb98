"""What the demo says while it works: one line on standard error for each thing that happens, and when it happened."""

import sys
import time


class Telling:
    """Counts from its making."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started_s

    def __call__(self, sentence: str) -> None:
        """Say a sentence."""
        print(f"{self.elapsed_s:6.1f} s  {sentence}", file=sys.stderr, flush=True)
