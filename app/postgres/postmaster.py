"""What a state folder and the process table say about the server: the same answer for every process that asks."""

import os
from dataclasses import dataclass
from pathlib import Path

from app.postgres.configuration import DATABASE, ROLE, cluster_name
from app.postgres.ports import LOOPBACK
from operators.domain.errors import ConfigError

_PROC = Path("/proc")
_READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The files of an embedded cluster inside its state folder (an absolute, resolved path)."""

    state_dir: Path

    @property
    def data_dir(self) -> Path:
        """The cluster itself."""
        return self.state_dir / "data"

    @property
    def pid_file(self) -> Path:
        """Written by the server: its process, port and status."""
        return self.data_dir / "postmaster.pid"

    @property
    def password_file(self) -> Path:
        """The password of the one role, mode 0600."""
        return self.state_dir / "password"

    @property
    def port_file(self) -> Path:
        """The port of the last start, wanted again by the next."""
        return self.state_dir / "port"

    @property
    def log_file(self) -> Path:
        """What the server and initdb say."""
        return self.state_dir / "postgres.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """A living server process of a cluster."""

    pid: int
    port: int
    ready: bool


def find_postmaster(layout: Layout) -> Postmaster | None:
    """Return the living server of this state folder, whoever started it, else None.

    A process that has died, is a zombie, or only inherited the number written in postmaster.pid is not it.
    Raises ConfigError when this user may not look into the cluster.
    """
    lines = _pid_lines(layout)
    if lines is None or not _is_postmaster(lines[0], layout.data_dir):
        return None
    status = lines[7].strip() if len(lines) > 7 else ""
    return Postmaster(pid=int(lines[0]), port=int(lines[3]), ready=status == _READY)


def cluster_processes(data_dir: Path) -> list[int]:
    """Return the living processes of the cluster: the server itself and its children, orphaned ones too."""
    return [
        int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal() and _belongs(int(entry.name), data_dir)
    ]


def is_living(pid: int) -> bool:
    """Return whether the process exists and has not ended (a zombie has)."""
    try:
        # The state follows the program's name in brackets, which may itself hold brackets and blanks.
        state = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {"Z", "X", "x"}


def current_url(state_dir: Path) -> str | None:
    """Return the URL of the server that runs for this state folder, None when none is ready.

    Raises ConfigError when this user may not look into the cluster or its password.
    """
    layout = Layout(state_dir=state_dir.resolve())
    postmaster = find_postmaster(layout)
    return url_of(layout, postmaster.port) if postmaster is not None and postmaster.ready else None


def url_of(layout: Layout, port: int) -> str:
    """Return the URL on that port. Raises ConfigError when the password cannot be read."""
    try:
        password = layout.password_file.read_text(encoding="ascii").strip()
    except OSError as exc:
        raise ConfigError(
            f"The password of the embedded database cannot be read ({exc.strerror}): {layout.password_file}"
        ) from exc
    return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{port}/{DATABASE}"


def _pid_lines(layout: Layout) -> list[str] | None:
    """Return the lines of postmaster.pid: pid, folder, start, port, socket folder, address, memory, status."""
    try:
        lines = layout.pid_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except PermissionError as exc:
        raise ConfigError(
            f"Run this as the user that runs the node: {layout.data_dir} is closed to user id {os.geteuid()}."
        ) from exc
    except OSError:
        return None
    return lines if len(lines) > 3 and lines[0].isdecimal() and lines[3].isdecimal() else None


def _is_postmaster(pid: str, data_dir: Path) -> bool:
    return is_living(int(pid)) and _names_folder(_command_line(int(pid)), data_dir)


def _belongs(pid: int, data_dir: Path) -> bool:
    command_line = _command_line(pid)
    title = f"postgres: {cluster_name(data_dir)}: ".encode()
    return (command_line.startswith(title) or _names_folder(command_line, data_dir)) and is_living(pid)


def _names_folder(command_line: bytes, data_dir: Path) -> bool:
    words = command_line.split(b"\0")
    return words[0].endswith(b"/postgres") and bytes(data_dir) in words[1:]


def _command_line(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""
