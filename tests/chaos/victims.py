"""The processes of a running node by what they are, and the end of one of them as `kill -9` gives it."""

import contextlib
import os
import signal
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from app.postgres.postmaster import Layout, cluster_processes, find_postmaster

_PROC = Path("/proc")


class Kind(StrEnum):
    """What can be killed."""

    SUPERVISOR = "supervisor"
    RECEIVE = "receive"
    LISTENER = "listener"
    WORK = "work"
    WEB = "web"
    POSTMASTER = "postmaster"
    BACKEND = "backend"
    PACS = "pacs"
    RIS = "ris"


OF_THE_NODE = tuple(kind for kind in Kind if kind not in (Kind.PACS, Kind.RIS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """One living process."""

    kind: Kind
    pid: int


def find_victims(supervisor_pid: int | None, state_dir: Path) -> list[Victim]:
    """Return the living processes of a node; the supervisor too, if it lives."""
    found = _database(state_dir)
    if supervisor_pid is None:
        return found
    found.append(Victim(kind=Kind.SUPERVISOR, pid=supervisor_pid))
    for pid in _children(supervisor_pid):
        role = _role(pid)
        if role is not None:
            found.append(Victim(kind=role, pid=pid))
        if role is Kind.RECEIVE:
            found += [Victim(kind=Kind.LISTENER, pid=child) for child in _children(pid) if _is_listener(child)]
    return found


def choose(victims: list[Victim], random: Random) -> Victim:
    """Return one of them: first its kind by lot, so that the many backends are not hit most of the time."""
    kind = random.choice(sorted({victim.kind for victim in victims}))
    return random.choice([victim for victim in victims if victim.kind is kind])


def kill(victim: Victim) -> None:
    """End it as `kill -9` does."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim.pid, signal.SIGKILL)


def _database(state_dir: Path) -> list[Victim]:
    layout = Layout(state_dir=(state_dir / "postgres").resolve())
    postmaster = find_postmaster(layout)
    if postmaster is None:
        return []
    backends = [pid for pid in cluster_processes(layout.data_dir) if b"127.0.0.1(" in _command_line(pid)]
    return [
        Victim(kind=Kind.POSTMASTER, pid=postmaster.pid),
        *(Victim(kind=Kind.BACKEND, pid=pid) for pid in backends),
    ]


def _role(pid: int) -> Kind | None:
    words = _command_line(pid).split(b"\0")
    if b"--roles" not in words:
        return None
    name = words[words.index(b"--roles") + 1].decode()
    return Kind(name) if name in (Kind.RECEIVE, Kind.WORK, Kind.WEB) else None


def _is_listener(pid: int) -> bool:
    return b"spawn_main" in _command_line(pid)


def _children(pid: int) -> list[int]:
    children = []
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):
                status = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if int(status[1]) == pid and status[0] not in ("Z", "X"):
                    children.append(int(entry.name))
    return children


def _command_line(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""
