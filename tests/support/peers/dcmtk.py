"""dcmtk's senders and askers as functions: files and an address in, what the peer answered out."""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from app.postgres.ports import LOOPBACK
from tests.support.peers.programs import path_of
from tests.support.peers.tls import TlsMaterial

SUCCESS = 0x0000
_TIMEOUT_S = 120.0
_SENDING = re.compile(r"^I: Sending file: (.+)$")
_STATUS = re.compile(r"^D: DIMSE Status\s*: 0x([0-9a-f]{4})")
_ERROR = re.compile(r"^[EF]: (.+)$")
_REPORT_FILE = re.compile(r"^Filename\s*: (.+)$")
_REPORT_STATUS = re.compile(r"^DIMSE Status\s*: (?:0x([0-9a-fA-F]{4}) )?[(<]?([^)>]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Where to, as whom, and with which certificates."""

    port: int
    called: str = "ANY-SCP"
    calling: str = "TESTSCU"
    tls: TlsMaterial | None = None
    host: str = LOOPBACK

    @property
    def titles(self) -> list[str]:
        """The options for AE titles."""
        return ["-aet", self.calling, "-aec", self.called]

    @property
    def security(self) -> list[str]:
        """The options for TLS, of the programs that have it."""
        if self.tls is None:
            return []
        return ["+tls", str(self.tls.client_key), str(self.tls.client_certificate), "+cf", str(self.tls.ca)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """What came of one file: the DIMSE status, None when it was not sent or not answered; why, in the tool's words."""

    path: Path
    status: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOutcome:
    """What came of a transfer; files in the order they were given."""

    exit_code: int
    files: tuple[FileOutcome, ...]
    text: str

    @property
    def all_stored(self) -> bool:
        """Whether each file was answered with success."""
        return self.exit_code == 0 and all(outcome.status == SUCCESS for outcome in self.files)


def storescu(paths: Sequence[Path], peer: Peer, *, options: Sequence[str] = ()) -> StoreOutcome:
    """Send files with storescu, going on after a failure.

    `options`: the proposed transfer syntax (`-xs` JPEG lossless, `-xt` JPEG-LS, `-xv` JPEG 2000 lossless, `-xr` RLE,
    `-xd` deflated, `-xb` big endian) or `-R` (propose only what is needed).
    """
    command = [path_of("storescu"), "-d", "-nh", *peer.titles, *peer.security, *options, peer.host, str(peer.port)]
    done = _run([*command, *map(str, paths)])
    return StoreOutcome(exit_code=done.returncode, files=_storescu_files(done.stdout, paths), text=done.stdout)


def dcmsend(paths: Sequence[Path], peer: Peer, *, options: Sequence[str] = ()) -> StoreOutcome:
    """Send files with dcmsend, which proposes the transfer syntax of each file; it has no TLS."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.txt"
        command = [path_of("dcmsend"), "-v", "-nh", "-nuc", *peer.titles, "+crf", str(report), *options]
        done = _run([*command, peer.host, str(peer.port), *map(str, paths)])
        told = report.read_text(encoding="utf-8", errors="replace") if report.exists() else ""
    return StoreOutcome(exit_code=done.returncode, files=_dcmsend_files(told, paths), text=done.stdout + told)


def echoscu(peer: Peer, *, options: Sequence[str] = ()) -> bool:
    """Return whether the peer answers C-ECHO with success."""
    command = [path_of("echoscu"), "-v", "-to", "5", *peer.titles, *peer.security, *options, peer.host, str(peer.port)]
    done = _run(command)
    return done.returncode == 0 and "Received Echo Response (Success)" in done.stdout


def findscu(keys: Mapping[str, str], peer: Peer, *, model: str = "-S") -> list[Dataset]:
    """Return the matches of a C-FIND. `keys`: keyword to value, QueryRetrieveLevel included; `model`: -P, -S or -W.

    Raises CalledProcessError when the peer refuses.
    """
    asked = [word for key, value in keys.items() for word in ("-k", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as folder:
        command = [path_of("findscu"), "-v", model, "-X", "-od", folder, *peer.titles, *peer.security, *asked]
        done = _run([*command, peer.host, str(peer.port)])
        if done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
        return [pydicom.dcmread(path, force=True) for path in sorted(Path(folder).iterdir())]


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
    )


def _storescu_files(text: str, paths: Sequence[Path]) -> tuple[FileOutcome, ...]:
    statuses: dict[str, int] = {}
    reasons: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        if sending := _SENDING.match(line):
            current = sending[1]
        elif status := _STATUS.match(line):
            statuses[current] = int(status[1], 16)
        elif error := _ERROR.match(line):
            reasons.setdefault(current, error[1])
    return tuple(
        FileOutcome(path=path, status=statuses.get(str(path)), reason=reasons.get(str(path), reasons.get("", "")))
        for path in paths
    )


def _dcmsend_files(report: str, paths: Sequence[Path]) -> tuple[FileOutcome, ...]:
    found: dict[str, tuple[int | None, str]] = {}
    current = ""
    for line in report.splitlines():
        if name := _REPORT_FILE.match(line):
            current = name[1]
        elif status := _REPORT_STATUS.match(line):
            found[current] = (int(status[1], 16) if status[1] else None, status[2])
    return tuple(
        _file_outcome(path, found.get(str(path), (None, "not in the report of the transfer"))) for path in paths
    )


def _file_outcome(path: Path, found: tuple[int | None, str]) -> FileOutcome:
    return FileOutcome(path=path, status=found[0], reason=found[1])
