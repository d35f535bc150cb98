"""The unprivileged account that PostgreSQL runs under, and what that account can reach.

PostgreSQL refuses to run as root. Started by root, the server gets the account that owns the cluster, else the owner of
the state folder, else `nobody`; started by anybody else, it runs as that user.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from operators.domain.errors import ConfigError

_FALLBACK_NAME = "nobody"


class Surroundings(TypedDict):
    """Arguments of subprocess that say what a process runs as and what it gets of ours: nothing but the locale."""

    cwd: str
    env: dict[str, str]
    umask: int
    user: int | None
    group: int | None
    extra_groups: list[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of the operating system; `dropped` is true when root gives up its rights to become it."""

    uid: int
    gid: int
    name: str
    dropped: bool

    @property
    def surroundings(self) -> Surroundings:
        """How PostgreSQL's programs are started under this account."""
        return Surroundings(
            cwd="/",
            env={"LC_ALL": "C", "TZ": "UTC"},
            umask=0o077,
            user=self.uid if self.dropped else None,
            group=self.gid if self.dropped else None,
            extra_groups=[] if self.dropped else None,
        )


def choose_account(state_dir: Path, data_dir: Path) -> Account:
    """Return the account for this cluster. Raises ConfigError when the operating system knows no fitting user."""
    if os.geteuid() != 0:
        return _known(os.geteuid(), dropped=False)
    for folder in (data_dir, state_dir):
        owner = folder.stat().st_uid if folder.exists() else 0
        if owner != 0 and (folder == data_dir or _is_known(owner)):
            return _known(owner, dropped=True)
    try:
        return _known(pwd.getpwnam(_FALLBACK_NAME).pw_uid, dropped=True)
    except KeyError as exc:
        raise ConfigError(
            f"PostgreSQL refuses to run as root and there is no user '{_FALLBACK_NAME}' to run it: "
            "start the node as another user, or set DATABASE_URL."
        ) from exc


def first_closed(path: Path, account: Account) -> Path | None:
    """Return the outermost folder above `path`, or `path` itself, that the account cannot read or pass, else None.

    Folders need the right to pass, a file needs the right to be read. Decided from owner, group and mode.
    """
    for folder in reversed(path.parents):
        if not _allows(folder, account, stat.S_IXUSR):
            return folder
    wanted = stat.S_IXUSR if path.is_dir() else stat.S_IRUSR
    return None if _allows(path, account, wanted) else path


def _allows(path: Path, account: Account, user_bit: int) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & user_bit)
    if found.st_gid == account.gid:
        return bool(found.st_mode & (user_bit >> 3))
    return bool(found.st_mode & (user_bit >> 6))


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _known(uid: int, *, dropped: bool) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as exc:
        raise ConfigError(
            f"PostgreSQL needs a user account to run under and user id {uid} has none: "
            "add the account, or set DATABASE_URL."
        ) from exc
    return Account(uid=uid, gid=entry.pw_gid, name=entry.pw_name, dropped=dropped)
