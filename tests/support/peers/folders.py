"""Folders for peers that run under another user account."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOMY_BYTES = 4 * 2**30


@contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a temporary folder that other users can pass through; pytest's own are closed to them under root.

    It lies in memory where there is room: a database cluster of a thousand files is made and removed at once there.
    """
    folder = Path(tempfile.mkdtemp(prefix="interval-", dir=_MEMORY if _is_roomy() else None)).resolve()
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_roomy() -> bool:
    if not os.access(_MEMORY, os.W_OK):
        return False
    mounted = os.statvfs(_MEMORY)
    return mounted.f_bavail * mounted.f_frsize >= _ROOMY_BYTES and not mounted.f_flag & os.ST_NOEXEC
