"""Files of the state folder: durable small files, the lock between supervisors, the server's log."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from operators.domain.errors import ConfigError, TransientError
from operators.domain.reasons import ReasonCode

_POLL_S = 0.02
_LOG_KEPT_BYTES = 16 * 2**20


def write_file(path: Path, text: str, *, mode: int) -> None:
    """Put the text there as a whole and durably: a reader sees the old file or the new one, after a crash too."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    part.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make the folder and those above it that are missing: others may pass through them, whatever the umask is."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        with contextlib.suppress(FileExistsError):
            missing.mkdir()
            missing.chmod(0o711)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock file; it frees itself when its holder dies. Raises TransientError when it is not had in time."""
    with path.open("a") as file:
        ends = time.monotonic() + timeout_s
        while not _try_lock(file.fileno()):
            if time.monotonic() > ends:
                raise TransientError(ReasonCode.DATABASE_AWAY, server="is being started or stopped by another process")
            time.sleep(_POLL_S)
        yield


def rotate(log: Path) -> None:
    """Set a large log aside; one former log is kept."""
    if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def text_from(path: Path, offset_bytes: int) -> str:
    """Return what was written to a log since `offset_bytes`."""
    with path.open("rb") as file:
        file.seek(offset_bytes)
        return file.read().decode("utf-8", errors="replace")


@contextlib.contextmanager
def os_errors_named() -> Iterator[None]:
    """Turn errors of the operating system into errors of the tree: a full disk may pass, the rest is the set-up."""
    try:
        yield
    except OSError as exc:
        if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise TransientError(ReasonCode.STORAGE_FULL, server="PostgreSQL") from exc
        where = f": {exc.filename}" if exc.filename else ""
        raise ConfigError(f"The embedded PostgreSQL cannot be used ({exc.strerror or exc}){where}.") from exc


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
