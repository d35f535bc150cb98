"""Where built engines are kept: a key enters, the engine's bytes, or nothing, leave.

A half-written or damaged file is never taken for an engine.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

_DIGEST_BYTES: Final = 32


class EngineCache:
    """Engines and timing caches in one folder. Each file starts with the SHA-256 of what follows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def engine(self, key: str) -> bytes | None:
        """Return the engine kept under `key`; None when there is none, or the file is damaged."""
        return self._read(f"{key}.engine")

    def keep_engine(self, key: str, content: bytes) -> None:
        """Keep an engine. Raises OSError."""
        self._write(f"{key}.engine", content)

    def timings(self, key: str) -> bytes:
        """Return the timing cache kept under `key`, empty when there is none."""
        return self._read(f"{key}.timings") or b""

    def keep_timings(self, key: str, content: bytes) -> None:
        """Keep a timing cache. Raises OSError."""
        self._write(f"{key}.timings", content)

    def _read(self, name: str) -> bytes | None:
        try:
            stored = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self._folder / name)
