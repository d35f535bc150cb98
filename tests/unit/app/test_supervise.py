"""When the supervisor starts a role again, and when that cannot help: real processes that end as they are told."""

import os
import signal
import subprocess
import sys
import time

import pytest

from app import signals
from app.supervise import Child, role_command

LONG = "import time; time.sleep(60)"


def child(program: str) -> Child:
    return Child(role="work", command=[sys.executable, "-c", program], environment={})


def ended(process: Child, now_s: float) -> int:
    """Start the child if need be and return its exit code once it has ended."""
    process.ensure(now_s)
    assert process.process is not None
    process.process.wait(30)
    code = process.ensure(now_s + 0.1)
    assert code is not None
    return code


def exits(code: int) -> str:
    return f"import os; os._exit({code})"


def test_a_role_that_ended_is_started_again_after_a_wait_that_grows() -> None:
    role = child(exits(1))
    now_s, waits = 1000.0, []
    for _ in range(8):
        assert ended(role, now_s) == 1
        assert not role.fatal(1)
        waits.append(round(role.start_at_s - now_s - 0.1, 3))
        role.ensure(role.start_at_s - 0.01)
        assert role.process is None
        now_s = role.start_at_s
    assert waits == [0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_a_role_that_ran_steadily_is_started_again_at_once() -> None:
    role = child(exits(1))
    for _ in range(3):
        now_s = role.start_at_s + 1.0
        ended(role, now_s)
    role.ensure(role.start_at_s)
    assert role.process is not None
    role.process.wait(30)
    later_s = role.started_s + 3600.0
    role.ensure(later_s)
    assert role.start_at_s - later_s == pytest.approx(0.2)


def test_a_wrong_setting_is_fatal_at_once() -> None:
    role = child(exits(2))
    assert role.fatal(ended(role, 10.0))


def test_a_missing_prerequisite_is_fatal_when_it_stays_missing() -> None:
    role = child(exits(3))
    assert not role.fatal(ended(role, 10.0))
    assert role.fatal(ended(role, role.start_at_s))


def test_kills_before_do_not_make_one_missing_prerequisite_fatal() -> None:
    role = child(exits(9))
    for _ in range(6):
        role.fatal(ended(role, role.start_at_s))
    role.command = [sys.executable, "-c", exits(3)]
    assert not role.fatal(ended(role, role.start_at_s))


def test_a_port_that_is_taken_after_a_long_run_is_waited_for() -> None:
    role = child(exits(3))
    for _ in range(5):
        role.ensure(role.start_at_s)
        assert role.process is not None
        role.process.wait(30)
        code = role.ensure(role.started_s + 3600.0)
        assert code == 3
        assert not role.fatal(code)


def test_a_program_that_cannot_be_started_is_tried_again() -> None:
    role = Child(role="work", command=["/nowhere/python"], environment={})
    assert role.ensure(5.0) is None
    assert role.process is None
    assert role.start_at_s > 5.0


def test_a_role_dies_with_its_supervisor() -> None:
    starts_and_dies = (
        "import os, signal, sys, time\n"
        "from app.supervise import Child\n"
        f"role = Child(role='work', command=[sys.executable, '-c', {LONG!r}], environment={{}})\n"
        "role.ensure(0.0)\n"
        "print(role.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", starts_and_dies], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert is_gone(int(done.stdout))


def test_a_role_whose_supervisor_is_gone_already_does_not_begin() -> None:
    orphan = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; from app import signals; signals.die_with_parent(os.getppid() + 1); print('began')",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert orphan.returncode == 1
    assert orphan.stdout == ""


def test_a_role_is_started_with_the_settings_of_its_supervisor() -> None:
    assert role_command("web", "/etc/interval.yaml")[1:] == [
        "-m", "app", "run", "--roles", "web", "--config", "/etc/interval.yaml",
    ]  # fmt: skip
    assert "--config" not in role_command("web", None)


def test_a_stop_signal_is_waited_for() -> None:
    waits = (
        "from app import signals\nsignals.block()\nprint('ready', flush=True)\nprint(signals.wait(60.0), flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "True\n"
    assert process.returncode == 0
    assert not signals.wait(0.0)


def test_a_process_that_was_stopped_and_goes_on_takes_that_for_no_stop_signal() -> None:
    waits = (
        "from app import signals\nsignals.block()\nprint('ready', flush=True)\nprint(signals.wait(0.5), flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.6)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "False\n"


def is_gone(pid: int) -> bool:
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123 - not a path of ours
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False
