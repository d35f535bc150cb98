"""A node's own processes: ports that are taken, settings that are wrong, orderly ends and ends of every other kind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import yaml

from app.postgres import current_url
from app.postgres.ports import LOOPBACK, free_port, is_free
from tests.chaos.victims import Kind, Victim, find_victims, kill
from tests.support.house import Node
from tests.support.objects import dx_from_image, save
from tests.support.peers import dcmsend, echoscu
from tests.support.peers.process import wait_until

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
LISTENERS = 2
FILM = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "films" / "3161e216.jpg"


class HouseWithoutWork(Node):
    """A node that receives and shows, and computes nothing."""

    roles = ("receive", "web")

    def command(self) -> list[str]:
        """Return the command line."""
        return [*super().command(), "--roles", ",".join(self.roles)]

    def is_ready(self) -> bool:
        """Return whether its roles are up."""
        health = self.health()
        return health.get("status") in ("ok", "degraded") and set(self.roles) <= set(health.get("roles", {}))


@pytest.fixture(scope="module")
def node(open_folder: Path) -> Iterator[HouseWithoutWork]:
    running = HouseWithoutWork(open_folder / "supervised", {})
    running.start()
    yield running
    running.stop()


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen()
        yield


def run_node(folder: Path, settings: dict[str, object], *, roles: str, database_url: str) -> "subprocess.Popen[str]":
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "interval.yaml"
    config.write_text(yaml.safe_dump({"interval": settings}), encoding="utf-8")
    command = [sys.executable, "-m", "app", "run", "--roles", roles, "--config", str(config)]
    environment = {"DATABASE_URL": database_url, "PATH": os.defpath}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def settings_of(folder: Path, **sections: object) -> dict[str, object]:
    given: dict[str, object] = {
        "node": {"state_dir": str(folder / "state")},
        "receive": {"port": free_port()},
        "web": {"port": free_port(), "token": "a token for tests only"},
    }
    return given | sections


def test_a_dicom_port_that_is_taken_ends_the_node_with_its_name(tmp_path: Path, database_url: str) -> None:
    port = free_port()
    settings = settings_of(tmp_path, receive={"port": port})
    with taken(port), run_node(tmp_path, settings, roles="receive,web", database_url=database_url) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert f"The DICOM port {port} on 127.0.0.1 is taken." in said


def test_a_web_port_that_is_taken_ends_the_node_with_its_name(tmp_path: Path, database_url: str) -> None:
    port = free_port()
    settings = settings_of(tmp_path, web={"port": port, "token": "a token for tests only"})
    with taken(port), run_node(tmp_path, settings, roles="receive,web", database_url=database_url) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert f"The web port {port} on 127.0.0.1 is taken." in said


def test_an_hl7_port_that_is_taken_ends_the_node_with_its_name(tmp_path: Path, database_url: str) -> None:
    port = free_port()
    settings = settings_of(tmp_path, ris={"enabled": True, "port": port})
    with taken(port), run_node(tmp_path, settings, roles="receive", database_url=database_url) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert f"The HL7 port {port} on 127.0.0.1 is taken." in said


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"receive": {"prot": 104}}, "interval.receive.prot"),
        ({"web": {"bind": "0.0.0.0"}}, "web.bind"),  # noqa: S104 - it is refused
        ({"encode": {"bundle": "no-such-bundle"}}, "encode.bundle"),
    ],
)
def test_a_wrong_setting_ends_the_node_with_its_name(
    tmp_path: Path, database_url: str, sections: dict[str, object], named: str
) -> None:
    settings = settings_of(tmp_path, **sections)
    with run_node(tmp_path, settings, roles="work,web", database_url=database_url) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert named in said


def test_a_database_that_was_never_there_is_waited_for(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    away = f"postgresql://nobody@{LOOPBACK}:{free_port()}/none"
    with run_node(tmp_path, settings, roles="receive,web", database_url=away) as process:
        web = HouseWithoutWork(tmp_path / "unused", {})
        web.web_port = settings["web"]["port"]  # type: ignore[index] # built above
        assert wait_until(lambda: web.health().get("database") == "away", PATIENCE_S)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "migration.waits" in said


@contextmanager
def held(node: Node) -> Iterator[None]:
    """Hold the supervisor; its roles go on."""
    os.kill(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.pid, signal.SIGCONT)


def victims(node: Node, kind: Kind) -> list[Victim]:
    return [victim for victim in find_victims(node.pid, node.state_dir) if victim.kind is kind]


def comes_back(node: HouseWithoutWork, kind: Kind, killed: Victim) -> bool:
    def is_replaced() -> bool:
        living = victims(node, kind)
        return bool(living) and killed not in living and node.is_ready() and echoscu(node.peer)

    return wait_until(is_replaced, PATIENCE_S)


@pytest.mark.parametrize("kind", [Kind.WEB, Kind.RECEIVE, Kind.POSTMASTER])
def test_what_is_killed_comes_back(node: HouseWithoutWork, kind: Kind) -> None:
    victim = victims(node, kind)[0]
    kill(victim)
    assert comes_back(node, kind, victim)
    assert node.is_running


def test_a_listener_that_is_killed_comes_back_beside_the_others(node: HouseWithoutWork) -> None:
    assert wait_until(lambda: len(victims(node, Kind.LISTENER)) == LISTENERS and echoscu(node.peer), PATIENCE_S)
    before = victims(node, Kind.LISTENER)
    kill(before[0])
    assert wait_until(
        lambda: len(victims(node, Kind.LISTENER)) == len(before) and before[0] not in victims(node, Kind.LISTENER),
        PATIENCE_S,
    )
    assert before[1] in victims(node, Kind.LISTENER)


def test_roles_follow_a_database_that_has_to_move_to_another_port(node: HouseWithoutWork) -> None:
    (database,) = victims(node, Kind.POSTMASTER)
    port = urlsplit(current_url(node.state_dir / "postgres") or "").port
    assert port is not None
    with contextlib.ExitStack() as stack:
        with held(node):  # nobody starts the database before its port is taken
            kill(database)
            assert wait_until(lambda: is_free(port), PATIENCE_S)
            stack.enter_context(taken(port))
        assert comes_back(node, Kind.POSTMASTER, database)
        assert wait_until(lambda: urlsplit(current_url(node.state_dir / "postgres") or "").port != port, PATIENCE_S)
        # The web role of the old port may answer once more before it is replaced: ask until the new one does.
        assert wait_until(lambda: bool(victims(node, Kind.WEB)) and answers_studies(node), PATIENCE_S)


def answers_studies(node: HouseWithoutWork) -> bool:
    try:
        return node.states() == {}
    except httpx.HTTPError:
        return False


def test_a_supervisor_that_is_killed_takes_its_roles_along_and_its_successor_finds_database_and_ports(
    node: HouseWithoutWork, tmp_path: Path
) -> None:
    before = find_victims(node.pid, node.state_dir)
    roles = [victim for victim in before if victim.kind in (Kind.WEB, Kind.RECEIVE, Kind.LISTENER)]
    (database,) = (victim for victim in before if victim.kind is Kind.POSTMASTER)
    node.kill()
    assert wait_until(lambda: not any(lives(role.pid) for role in roles), PATIENCE_S)
    node.start()
    assert victims(node, Kind.POSTMASTER) == [database]
    film = save(dx_from_image(FILM, seed="after-the-kill"), tmp_path / "film.dcm")
    # Health may still show the last beat of the role that died with its supervisor: the sender repeats, as senders do.
    assert wait_until(lambda: dcmsend([film], node.peer).all_stored, PATIENCE_S)


def test_a_stop_signal_ends_everything_in_order(open_folder: Path) -> None:
    node = HouseWithoutWork(open_folder / "stopped", {})
    node.start()
    before = find_victims(node.pid, node.state_dir)
    os.kill(node.pid, signal.SIGTERM)
    assert wait_until(lambda: not node.is_running, PATIENCE_S)
    assert not any(lives(victim.pid) for victim in before)
    log = node.log_path.read_text(encoding="utf-8")
    assert "receive.stopped" in log
    assert "role.killed" not in log
    node.stop()


def test_a_stop_signal_is_obeyed_while_the_database_is_away(open_folder: Path, postgres_url: str) -> None:
    del postgres_url  # the session's own database is another one
    node = HouseWithoutWork(open_folder / "stopped-without", {})
    node.start()
    (database,) = victims(node, Kind.POSTMASTER)
    with held(node):  # nobody starts the database again
        kill(database)
        os.kill(node.pid, signal.SIGTERM)
    assert wait_until(lambda: not node.is_running, PATIENCE_S)
    node.stop()


def test_two_nodes_on_one_new_database_migrate_it_once(tmp_path: Path, empty_database_url: str) -> None:
    processes = [
        run_node(tmp_path / name, settings_of(tmp_path / name), roles="receive,web", database_url=empty_database_url)
        for name in ("one", "two")
    ]

    def both_beat() -> bool:
        with psycopg.connect(empty_database_url) as connection:
            found = connection.execute("SELECT to_regclass('role_beats')").fetchone()
            if found is None or found[0] is None:
                return False
            return connection.execute("SELECT count(*) FROM role_beats").fetchone() == (4,)

    try:
        assert wait_until(both_beat, PATIENCE_S)
    finally:
        ends = [end(process) for process in processes]
    assert [code for code, _ in ends] == [0, 0]
    there = len(list((ROOT / "app" / "migrations").glob("*.sql")))
    assert sum(said.count("migration.applied") for _, said in ends) == there


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
