"""A role's graph runs until told to stop; when it dies instead, the role dies with it and does not beat on."""

import subprocess
import sys
import threading
from typing import cast

import pytest

from app.beats import Beats
from app.cli.main import exit_code, main
from app.pipeline import ReceiveApplication
from app.roles.graph import run_graph
from operators.domain.errors import ConfigError, PermanentError, PrerequisiteMissingError, TransientError
from operators.domain.reasons import ReasonCode


class Pulse:
    """Beats that only say whether they beat."""

    def __init__(self) -> None:
        self.beating = False

    def start(self) -> None:
        self.beating = True

    def stop(self) -> None:
        self.beating = False


class Graph:
    """A graph that does what it is told, on `run`."""

    def __init__(self, error: Exception | None, pulse: Pulse) -> None:
        self._error = error
        self._pulse = pulse

    def run(self) -> None:
        assert self._pulse.beating
        if self._error is not None:
            raise self._error


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "signals"]


@pytest.mark.parametrize("error", [None, ZeroDivisionError("a defect")])
def test_nothing_is_left_of_a_graph_that_ended(error: Exception | None) -> None:
    pulse = Pulse()
    graph = cast("ReceiveApplication", Graph(error, pulse))
    try:
        run_graph(graph, stop=lambda: None, beats=cast("Beats", pulse))
    except ZeroDivisionError:
        assert error is not None
    else:
        assert error is None
    assert not pulse.beating
    assert watchers() == []


def test_a_stop_signal_leads_to_the_end_of_the_graph() -> None:
    program = (
        "from app import signals\n"
        "signals.block()\n"
        "import threading\n"
        "from app.roles.graph import run_graph\n"
        "class Pulse:\n"
        "    def start(self): print('beating', flush=True)\n"
        "    def stop(self): print('left', flush=True)\n"
        "class Graph:\n"
        "    closed = threading.Event()\n"
        "    def run(self):\n"
        "        assert self.closed.wait(60)\n"
        "run_graph(Graph(), stop=Graph.closed.set, beats=Pulse())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "beating\n"
        process.terminate()
        assert process.stdout.readline() == "left\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a wrong setting"), 2),
        (ConfigError("a taken port", ReasonCode.PORT_IN_USE), 3),
        (PrerequisiteMissingError("a program"), 3),
        (TransientError(ReasonCode.DATABASE_AWAY), 3),
        (PermanentError(ReasonCode.NO_PIXELS), 4),
    ],
)
def test_errors_end_a_command_with_the_code_of_the_contract(
    error: ConfigError | TransientError | PermanentError, code: int
) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize("roles", ["", "web,cook", " , "])
def test_an_unknown_role_is_refused(roles: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--roles", roles]) == 2
    assert "--roles takes receive, work, web" in capsys.readouterr().err
