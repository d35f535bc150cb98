"""Files of the spool: durable before they are named, never overwritten, and gone when they should be."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.domain.ids import InstanceUid, StudyUid
from operators.receive.spool import PartFile, Spool, SystemDisk

_STUDY, _OBJECT = StudyUid("1.2"), InstanceUid("1.2.3")
_MIB = 2**20


class RecordingDisk(SystemDisk):
    """The machine's disk that notes what is done, and fails where a test wants it to."""

    def __init__(self, *, room_bytes: int = 2**40, fail_sync: bool = False, at_once: int = 2**20) -> None:
        self.events: list[str] = []
        self._room_bytes = room_bytes
        self._fail_sync = fail_sync
        self._at_once = at_once

    def write(self, descriptor: int, data: memoryview) -> int:
        if len(data) > self._room_bytes:
            raise OSError(errno.ENOSPC, "no space left on device")
        count = super().write(descriptor, data[: self._at_once])
        self._room_bytes -= count
        return count

    def sync(self, descriptor: int) -> None:
        if self._fail_sync:
            raise OSError(errno.EIO, "input/output error")
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        self.events.append(f"sync {'folder' if target.is_dir() else 'file'} {target.name}")
        super().sync(descriptor)

    def free_bytes(self, folder: Path) -> int:
        del folder
        return self._room_bytes


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return _spool(tmp_path)


def _spool(root: Path, disk: SystemDisk | None = None, *, writer: str = "w0-", refuse_below_mib: int = 0) -> Spool:
    spool = Spool(root, writer=writer, refuse_below_mib=refuse_below_mib, disk=disk)
    spool.prepare()
    return spool


def _part(spool: Spool, *fragments: bytes) -> PartFile:
    part = spool.begin(b"preface ")
    for fragment in fragments or (b"data",):
        part.write(memoryview(fragment))
    return part


def test_a_kept_file_holds_all_fragments_and_leaves_nothing_behind(spool: Spool) -> None:
    part = _part(spool, b"one ", b"two")

    path = spool.keep(part, _STUDY, _OBJECT)

    assert (spool.root / path).read_bytes() == b"preface one two"
    assert part.size_bytes == 15
    assert list((spool.root / "incoming").iterdir()) == []
    assert not Path(path).is_absolute()


def test_short_writes_are_continued(tmp_path: Path) -> None:
    spool = _spool(tmp_path, RecordingDisk(at_once=3))

    path = spool.keep(_part(spool, b"0123456789"), _STUDY, _OBJECT)

    assert (tmp_path / path).read_bytes() == b"preface 0123456789"


def test_file_and_folder_are_synced_before_keep_returns(tmp_path: Path) -> None:
    disk = RecordingDisk()
    spool = _spool(tmp_path, disk)

    path = Path(spool.keep(_part(spool), _STUDY, _OBJECT))

    assert f"sync file {path.name}" in disk.events
    assert disk.events[-1] == f"sync folder {path.parent.name}"
    assert f"sync folder {path.parent.parent.name}" in disk.events


def test_the_same_object_twice_makes_two_files(spool: Spool) -> None:
    first, second = (spool.keep(_part(spool, content), _STUDY, _OBJECT) for content in (b"first", b"second"))

    assert first != second
    assert (spool.root / first).read_bytes() == b"preface first"


def test_a_full_disk_is_kept_in_mind_until_asked(tmp_path: Path) -> None:
    spool = _spool(tmp_path, RecordingDisk(room_bytes=12))

    part = _part(spool, b"abcd", b"too much", b"x")

    assert part.failure is not None
    assert part.failure.errno == errno.ENOSPC
    part.discard()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_below_the_low_watermark_no_file_is_begun(tmp_path: Path) -> None:
    spool = _spool(tmp_path, RecordingDisk(room_bytes=10 * _MIB - 1), refuse_below_mib=10)

    part = _part(spool)

    assert part.failure is not None
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_failing_sync_is_no_success(tmp_path: Path) -> None:
    spool = _spool(tmp_path, RecordingDisk(fail_sync=True))
    part = _part(spool)

    with pytest.raises(OSError, match="input/output"):
        spool.keep(part, _STUDY, _OBJECT)

    part.discard()
    assert list(spool.files()) == []


def test_leftovers_of_the_same_writer_are_removed_at_its_start(tmp_path: Path) -> None:
    _part(_spool(tmp_path, writer="w0-"))
    other = _part(_spool(tmp_path, writer="w1-"))

    assert Spool(tmp_path, writer="w0-").prepare() == 1

    assert list((tmp_path / "incoming").iterdir()) == [other.path]
    assert Spool(tmp_path, writer="w").prepare() == 1


def test_the_last_file_of_a_study_takes_its_folder_along(spool: Spool) -> None:
    first, second = (spool.keep(_part(spool), _STUDY, InstanceUid(uid)) for uid in ("1.2.3", "1.2.4"))

    spool.remove(first)
    assert not spool.has(first)
    assert spool.has(second)
    spool.remove(second)
    spool.remove(second)

    assert not (spool.root / second).parent.exists()


def test_a_file_can_be_kept_while_its_folder_is_being_removed(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    old = spool.keep(_part(spool), _STUDY, _OBJECT)
    part = _part(spool)
    rename: Callable[[Path, Path], Path] = Path.rename
    removed: list[str] = []

    def remove_first(path: Path, target: Path) -> Path:
        if not removed:
            removed.append(old)
            spool.remove(old)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", remove_first)

    assert spool.has(spool.keep(part, _STUDY, _OBJECT))


def test_uids_do_not_become_paths(spool: Spool) -> None:
    path = spool.keep(_part(spool), StudyUid("../../../etc"), InstanceUid("/tmp/x"))

    assert (spool.root / path).resolve().is_relative_to(spool.root.resolve() / "objects")


def test_kept_files_are_not_readable_by_everybody(spool: Spool) -> None:
    path = spool.keep(_part(spool), _STUDY, _OBJECT)

    assert (spool.root / path).stat().st_mode & 0o007 == 0
