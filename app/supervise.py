"""`python -m app run` with several roles: one process each, restarted when it dies, stopped in order.

The supervisor holds no work of its own. Killed at any moment it loses nothing: its children die with it, the embedded
database lives on and is adopted by the next supervisor.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from app import signals
from app.migrate import migrate
from operators.domain.errors import TransientError

logger = logging.getLogger(__name__)

EXIT_CONFIGURATION = 2
EXIT_PREREQUISITE = 3
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
_STEADY_AFTER_S = 10.0
_STARTED_AFTER_S = 60.0
_STOP_WITHIN_S = 60.0
_TICK_S = 0.2
_REFUSALS = 2


@dataclass(slots=True, kw_only=True)
class Child:
    """One role's process and how often it had to be started again."""

    role: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    restarts: int = 0
    refusals: int = 0
    start_at_s: float = field(default=0.0)

    def ensure(self, now_s: float) -> int | None:
        """Start the process when it is not running and its wait is over; return an exit code seen now."""
        if self.process is None:
            if now_s >= self.start_at_s:
                self._start(now_s)
            return None
        code = self.process.poll()
        if code is None:
            return None
        self.process = None
        lived_s = now_s - self.started_s
        self.refusals = self.refusals + 1 if code == EXIT_PREREQUISITE and lived_s < _STARTED_AFTER_S else 0
        self._put_off(now_s, steady=lived_s > _STEADY_AFTER_S)
        logger.warning("role.ended", extra={"role": self.role, "exit_code": code, "restarts": self.restarts})
        return code

    def fatal(self, code: int) -> bool:
        """Whether an exit means that starting again cannot help: a wrong setting, or a prerequisite that stays away."""
        return code == EXIT_CONFIGURATION or self.refusals >= _REFUSALS

    def end(self) -> None:
        """Ask the process to end in order."""
        if self.process is not None:
            self.process.terminate()

    def _start(self, now_s: float) -> None:
        die_with_us = partial(signals.die_with_parent, os.getpid())
        self.started_s = now_s
        try:
            self.process = subprocess.Popen(self.command, env=dict(self.environment), preexec_fn=die_with_us)  # noqa: PLW1509 - no other thread holds a lock
        except OSError as exc:
            self._put_off(now_s, steady=False)
            logger.error("role.not_started", extra={"role": self.role, "kind": type(exc).__name__})  # noqa: TRY400 - no traceback in logs
            return
        logger.info("role.started", extra={"role": self.role, "pid": self.process.pid})

    def _put_off(self, now_s: float, *, steady: bool) -> None:
        self.restarts = 0 if steady else self.restarts + 1
        self.start_at_s = now_s + min(_FIRST_WAIT_S * 2.0**self.restarts, _LONGEST_WAIT_S)


class Supervisor:
    """Keeps the roles' processes, and the embedded database if there is one, alive until told to stop.

    `keep_database` looks after the database and returns its URL; `environment_of` makes the roles' environment of it.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        database_url: str,
        keep_database: Callable[[], str],
        environment_of: Callable[[str], Mapping[str, str]],
    ) -> None:
        self._children = children
        self._database_url = database_url
        self._keep_database = keep_database
        self._environment_of = environment_of
        self._migrated = False

    def run(self) -> int:
        """Serve until a stop signal; return the exit code. Raises ConfigError when the database cannot be used."""
        try:
            return self._serve()
        finally:
            self._stop()

    def _serve(self) -> int:
        while not signals.wait(_TICK_S):
            self._migrated = self._keep() and (self._migrated or self._migrate())
            fatal = self._tend()
            if fatal is not None:
                return fatal
        return 0

    def _keep(self) -> bool:
        """Look after the database; False only while it never was ready."""
        try:
            url = self._keep_database()
        except TransientError as error:
            logger.warning("database.waits", extra={"reason": error.sentence})
            return self._migrated
        if url != self._database_url:
            self._move_to(url)
        return True

    def _move_to(self, url: str) -> None:
        """Let the roles go on with a database that came back at another address."""
        logger.warning("database.moved")
        self._database_url = url
        for child in self._children:
            child.environment = self._environment_of(url)
            child.end()

    def _migrate(self) -> bool:
        try:
            migrate(self._database_url)
        except TransientError as error:
            logger.warning("migration.waits", extra={"reason": error.sentence})
            return False
        return True

    def _tend(self) -> int | None:
        now_s = time.monotonic()
        for child in self._children:
            if not self._migrated and child.role != "web":
                continue
            code = child.ensure(now_s)
            if code is not None and child.fatal(code):
                return code
        return None

    def _stop(self) -> None:
        for child in self._children:
            child.end()
        deadline_s = time.monotonic() + _STOP_WITHIN_S
        for child in self._children:
            if child.process is not None:
                _see_off(child.process, deadline_s)


def _see_off(process: subprocess.Popen[bytes], deadline_s: float) -> None:
    try:
        process.wait(max(deadline_s - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        logger.error("role.killed", extra={"pid": process.pid})  # noqa: TRY400 - no traceback in logs
        process.kill()
        process.wait()


def role_command(role: str, config_path: str | None) -> list[str]:
    """Return the command line of one role's own process."""
    command = [sys.executable, "-m", "app", "run", "--roles", role]
    return [*command, "--config", config_path] if config_path else command
