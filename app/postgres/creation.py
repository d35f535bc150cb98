"""A state folder in, an initialised cluster with its role and database in it out."""

import logging
import os
import re
import secrets
import shutil
import stat
import subprocess
from pathlib import Path

from app.postgres.account import Account, first_closed
from app.postgres.binaries import Binaries
from app.postgres.configuration import DATABASE, ROLE
from app.postgres.files import sync_folder, text_from, write_file
from app.postgres.postmaster import Layout
from operators.domain.errors import ConfigError, NodeError, TransientError
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

_INITDB_TIMEOUT_S = 120.0
_WRONG = re.compile(r"(?:PANIC|FATAL|ERROR|error):\s*(.+)")
_INITDB_OPTIONS = (
    "--data-checksums",
    "--sync-method=syncfs",  # one call for the file system instead of one for each of a thousand files
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    f"--username={ROLE}",
)


def open_to_account(state_dir: Path, account: Account) -> None:
    """Let the account pass through the state folder. Raises ConfigError when a folder above is closed to it.

    Only the state folder itself, which is ours, is changed: others may pass through it, not list it. The folders above
    belong to somebody else.
    """
    if not account.dropped:
        return
    closed = first_closed(state_dir, account)
    if closed == state_dir:
        state_dir.chmod(stat.S_IMODE(state_dir.stat().st_mode) | stat.S_IXOTH)
        closed = first_closed(state_dir, account)
    if closed is not None:
        raise ConfigError(
            f"PostgreSQL must not run as root, and the user '{account.name}' cannot enter {closed}: "
            "choose a state folder that others can reach, start the node as another user, or set DATABASE_URL."
        )


def create_cluster(layout: Layout, binaries: Binaries, account: Account) -> None:
    """Create the cluster unless it is there; it appears as a whole, after an interruption too.

    Raises ConfigError when the cluster there was made by another major release, belongs to somebody else or has lost
    its password, or when initdb fails.
    """
    for left_over in layout.state_dir.glob("init-*"):
        shutil.rmtree(left_over, ignore_errors=True)  # an initdb that lost its supervisor may still write there
    if layout.data_dir.exists():
        _check_cluster(layout, binaries, account)
        return
    password = secrets.token_urlsafe(32)
    write_file(layout.password_file, password + "\n", mode=0o600)
    if account.dropped:
        owner = layout.state_dir.stat()
        os.chown(layout.password_file, owner.st_uid, owner.st_gid)
    nursery = layout.state_dir / f"init-{secrets.token_hex(4)}"
    nursery.mkdir(mode=0o700)
    given = nursery / "password"
    write_file(given, password + "\n", mode=0o600)
    if account.dropped:
        for path in (given, nursery):
            os.chown(path, account.uid, account.gid)
    _initialise(layout, binaries, account, nursery)
    (nursery / "data").rename(layout.data_dir)
    shutil.rmtree(nursery)
    sync_folder(layout.state_dir)
    logger.info("postgres.created", extra={"release": binaries.version})


def server_failure(said: str, log_file: Path) -> NodeError:
    """Return the error for a server or initdb that ended too early. `said`: what it logged."""
    if "No space left on device" in said:
        return TransientError(ReasonCode.STORAGE_FULL, server="PostgreSQL")
    reason = (_WRONG.findall(said) or ["it gives no reason"])[-1]
    return ConfigError(f"The embedded PostgreSQL does not start ({reason}); its log is {log_file}.")


def _check_cluster(layout: Layout, binaries: Binaries, account: Account) -> None:
    owner = layout.data_dir.stat().st_uid
    if owner != account.uid:
        raise ConfigError(
            f"The embedded database {layout.data_dir} belongs to user id {owner}: start the node as that user."
        )
    major = (layout.data_dir / "PG_VERSION").read_text(encoding="ascii").strip()
    if major != binaries.major:
        raise ConfigError(
            f"The embedded database was made by PostgreSQL {major}, this node brings {binaries.version}: "
            "dump it with the former version and restore it, or set DATABASE_URL."
        )
    if not layout.password_file.exists():
        raise ConfigError(f"The password of the embedded database is gone: restore {layout.password_file}.")


def _initialise(layout: Layout, binaries: Binaries, account: Account, nursery: Path) -> None:
    data = str(nursery / "data")
    initdb = [binaries.program("initdb"), *_INITDB_OPTIONS, f"--pwfile={nursery / 'password'}", "-D", data]
    _run(initdb, layout, account)
    # The database that initdb makes gets the node's name; a further one would be copied file by file.
    single = [binaries.program("postgres"), "--single", "-D", data, "-c", "log_checkpoints=off", "template1"]
    _run(single, layout, account, said=f'ALTER DATABASE postgres RENAME TO "{DATABASE}";\n')


def _run(command: list[str], layout: Layout, account: Account, said: str = "") -> None:
    with layout.log_file.open("ab") as log:
        log_from_bytes = log.tell()
        try:
            done = subprocess.run(
                command,
                check=False,
                input=said.encode(),
                stdout=log,
                stderr=log,
                timeout=_INITDB_TIMEOUT_S,
                **account.surroundings,
            )
        except subprocess.TimeoutExpired as exc:
            raise TransientError(ReasonCode.DATABASE_AWAY, server="is not created in time") from exc
    told = text_from(layout.log_file, log_from_bytes)
    if done.returncode != 0 or "ERROR:" in told:
        raise server_failure(told, layout.log_file)
