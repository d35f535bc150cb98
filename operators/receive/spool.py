"""The spool: data sets as they arrive become files that survive a power cut, in one folder per study.

    incoming/<writer><token>.part               being received; removed when the writer starts again
    objects/<ab>/<study>/<object>-<token>.dcm   kept; names are digests, since UIDs are the sender's text

Every reception has a token of its own, so that no file that a row names is ever written again.
"""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from operators.domain.ids import InstanceUid, StudyUid, digest

_INCOMING, _OBJECTS, _PART = "incoming", "objects", ".part"
_NAME_CHARS = 32
_MIB = 2**20


class Disk(Protocol):
    """The operations that can fail for want of space, apart, so that a test can have them fail."""

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write what fits; return how many bytes that was."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return once the file or folder is on stable storage."""
        ...

    def free_bytes(self, folder: Path) -> int:
        """Bytes that may still be written."""
        ...


class SystemDisk:
    """The machine's disk."""

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write what fits; return how many bytes that was."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Return once the file or folder is on stable storage."""
        os.fsync(descriptor)

    def free_bytes(self, folder: Path) -> int:
        """Bytes that may still be written."""
        return shutil.disk_usage(folder).free


class PartFile:
    """One data set on its way into the spool. A failure to write is kept until `failure` is asked for.

    `sha256` is of the data set alone, in hexadecimal. `is_kept` says that a row may name the file by now, so that it
    must not be discarded.
    """

    def __init__(self, path: Path, token: str, disk: Disk) -> None:
        self.path = path
        self.token = token
        self.data_set_at = 0
        self.size_bytes = 0
        self.failure: OSError | None = None
        self._sha256 = hashlib.sha256()
        self.is_kept = False
        self._disk = disk
        self._descriptor = -1

    def open(self, preface: bytes) -> None:
        """Create the file and write what comes before the data set."""
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as exc:
            self.failure = exc
        self.data_set_at = len(preface)
        self._append(memoryview(preface))

    @property
    def sha256(self) -> str:
        """Of what was given to `write` so far."""
        return self._sha256.hexdigest()

    def write(self, fragment: memoryview) -> None:
        """Append a fragment of the data set; after a failure nothing more is written."""
        if self.failure is None:
            self._sha256.update(fragment)
            self._append(fragment)

    def _append(self, fragment: memoryview) -> None:
        if self.failure is not None:
            return
        try:
            while fragment:
                count = self._disk.write(self._descriptor, fragment)
                self.size_bytes += count
                fragment = fragment[count:]
        except OSError as exc:
            self.failure = exc

    def sync(self) -> None:
        """Return once all that was written is on stable storage. Raises OSError."""
        self._disk.sync(self._descriptor)

    def close(self) -> None:
        """Release the descriptor; harmless when done before."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Close and remove the file."""
        self.close()
        with suppress(FileNotFoundError):
            self.path.unlink()


class Spool:
    """Files below one folder. No two processes write at a time under names of which one begins with the other."""

    def __init__(self, root: Path, *, writer: str, refuse_below_mib: int = 0, disk: Disk | None = None) -> None:
        self.root = root
        self._writer = writer
        self._refuse_below_mib = refuse_below_mib
        self._disk = disk or SystemDisk()

    def prepare(self) -> int:
        """Make the folders and remove what writers of this name left half received; return how many files that was."""
        for name in (_INCOMING, _OBJECTS):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        leftovers = list((self.root / _INCOMING).glob(f"{self._writer}*{_PART}"))
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    def begin(self, preface: bytes) -> PartFile:
        """Open a file for a data set that begins to arrive; a failure, such as too little space, is kept in it."""
        token = secrets.token_hex(8)
        path = self.root / _INCOMING / f"{self._writer}{token}{_PART}"
        part = PartFile(path, token, self._disk)
        if self.free_mib() < self._refuse_below_mib:
            part.failure = OSError(errno.ENOSPC, "below the low watermark")
        else:
            part.open(preface)
        return part

    def keep(self, part: PartFile, study_uid: StudyUid, instance_uid: InstanceUid) -> str:
        """Make a complete file durable under its final name; return its path relative to the spool. Raises OSError."""
        study = digest(study_uid)[:_NAME_CHARS]
        folder = self.root / _OBJECTS / study[:2] / study
        target = folder / f"{digest(instance_uid)[:_NAME_CHARS]}-{part.token}.dcm"
        # The new name is there before the file is synced, so that one commit of the file system's journal covers both.
        self._move(part, target)
        part.sync()
        part.close()
        self._sync_folder(folder)
        return self.relative(target)

    def remove(self, path: str) -> None:
        """Remove a file by its relative path, and its study's folder when that was the last; harmless when gone."""
        target = self.root / path
        target.unlink(missing_ok=True)
        with suppress(OSError):
            target.parent.rmdir()

    def has(self, path: str) -> bool:
        """Whether the file is there."""
        return (self.root / path).is_file()

    def free_mib(self) -> int:
        """MiB that may still be written."""
        return self._disk.free_bytes(self.root) // _MIB

    def files(self, folder: str = "*") -> Iterator[Path]:
        """Kept files, of one of the folders 00 to ff if named; paths are absolute."""
        return (self.root / _OBJECTS).glob(f"{folder}/*/*.dcm")

    def relative(self, path: Path) -> str:
        """Path as rows name it."""
        return path.relative_to(self.root).as_posix()

    def _move(self, part: PartFile, target: Path) -> None:
        try:
            part.path.rename(target)
        except FileNotFoundError:  # no such folder yet, or the last file of it was removed just now
            self._make(target.parent)
            part.path.rename(target)
        part.path = target

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._sync_folder(folder.parent)
        self._sync_folder(folder.parent.parent)

    def _sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)
