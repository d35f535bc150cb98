"""The listener processes of the receive role and what they tell: an inbox is fed, and closed when all have ended.

The parent binds the port and hands it to its listeners. One that dies is replaced, and meanwhile connections wait in
the port's queue. Every tick the inbox gets what was stored since, so that quiet times are noticed too.
"""

import logging
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from operators.domain.errors import ConfigError
from operators.domain.inbox import Inbox
from operators.domain.listening import bind
from operators.domain.messages import StoredInstance
from operators.domain.server_tls import server_context
from operators.receive.config import ReceiveConfig
from operators.receive.listener import STOP, WRITER, ListenerSetup, listen
from operators.receive.spool import Spool

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_STEADY_AFTER_S = 10.0


@dataclass(slots=True)
class _Child:
    """One listener process, the near end of its pipe, and its failures in a row."""

    process: SpawnProcess
    pipe: Connection
    started_s: float
    failures: int


class Receiver:
    """Runs the listeners of one node. `start` once, `stop` once."""

    def __init__(
        self,
        *,
        config: ReceiveConfig,
        database_url: str,
        spool_root: Path,
        inbox: Inbox[tuple[StoredInstance, ...]],
        set_up_process: Callable[[], None],
    ) -> None:
        self._config = config
        self._setup = ListenerSetup(
            number=0,
            config=config,
            database_url=database_url,
            spool_root=spool_root,
            set_up_process=set_up_process,
        )
        self._inbox = inbox
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._loads: Any = self._context.RawArray("i", config.processes)
        self._listening: socket.socket | None = None
        self._children: dict[int, _Child] = {}
        self._due_s: dict[int, tuple[float, int]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="receiver")

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._listening is None:
            return self._config.port
        return int(self._listening.getsockname()[1])

    def start(self) -> None:
        """Bind the port and start the listeners.

        Raises ConfigError for TLS files or a spool that cannot be used and, with PORT_IN_USE, for a taken port.
        """
        if self._config.tls is not None:
            server_context(self._config.tls, "receive.tls")
        _prepare(self._setup.spool_root)
        self._listening = bind(self._config.bind, self._config.port, what="DICOM port")
        for number in range(self._config.processes):
            self._spawn(number, failures=0)
        self._thread.start()
        logger.info("receive.listening", extra={"port": self.port, "processes": self._config.processes})

    def stop(self) -> None:
        """Accept nothing more; return when the open associations have ended and the inbox is closed."""
        self._stopping.set()
        self._thread.join()

    def pids(self) -> tuple[int, ...]:
        """Process ids of the listeners that run now."""
        return tuple(child.process.pid for child in self._children.values() if child.process.pid is not None)

    def _spawn(self, number: int, failures: int) -> None:
        near, far = self._context.Pipe()
        setup = replace(self._setup, number=number)
        self._loads[number] = 0
        process = self._context.Process(
            target=listen, args=(setup, self._listening, far, self._loads), name=f"listener{number}", daemon=True
        )
        process.start()
        far.close()
        self._children[number] = _Child(process, near, time.monotonic(), failures)

    def _watch(self) -> None:
        """Gather, tick and replace until told to stop; then see the listeners off."""
        while not self._stopping.is_set():
            self._inbox.put(self._gather(time.monotonic() + self._config.tick_s))
            self._replace()
        if self._listening is not None:
            self._listening.close()
        for child in self._children.values():
            _tell_to_stop(child)
        deadline_s = time.monotonic() + self._config.stop_within_s + _LONGEST_PAUSE_S
        while self._children and time.monotonic() < deadline_s:
            self._inbox.put(self._gather(min(deadline_s, time.monotonic() + self._config.tick_s)))
        for child in self._children.values():
            child.process.kill()
        self._inbox.close()
        logger.info("receive.stopped")

    def _gather(self, until_s: float) -> tuple[StoredInstance, ...]:
        """Collect what the listeners tell until the time is over, or one second's worth has come."""
        stored: list[StoredInstance] = []
        while (left_s := until_s - time.monotonic()) > 0 and not (self._stopping.is_set() and not self._children):
            pipes: dict[Any, int] = {child.pipe: number for number, child in self._children.items()}
            if not pipes:
                self._stopping.wait(min(left_s, 0.1))
                continue
            for pipe in wait(list(pipes), min(left_s, 0.1)):
                told = _received(pipe)
                if told is None:
                    self._bury(pipes[pipe])
                else:
                    stored.append(told)
            if self._stopping.is_set() and stored:
                break
        return tuple(stored)

    def _bury(self, number: int) -> None:
        child = self._children.pop(number)
        child.pipe.close()
        child.process.join(1.0)
        self._loads[number] = 0
        if self._stopping.is_set():
            return
        steady = time.monotonic() - child.started_s > _STEADY_AFTER_S
        failures = 0 if steady else child.failures + 1
        pause_s = min(_FIRST_PAUSE_S * 2.0**failures, _LONGEST_PAUSE_S)
        self._due_s[number] = (time.monotonic() + pause_s, failures)
        logger.warning("listener.ended", extra={"listener": number, "exit_code": child.process.exitcode})

    def _replace(self) -> None:
        for number, (due_s, failures) in tuple(self._due_s.items()):
            if time.monotonic() >= due_s:
                del self._due_s[number]
                self._spawn(number, failures)


def _prepare(spool_root: Path) -> None:
    try:
        leftovers = Spool(spool_root, writer=WRITER).prepare()
    except OSError as exc:
        raise ConfigError(f"receive: the spool cannot be used ({type(exc).__name__})") from exc
    if leftovers:
        logger.info("spool.leftovers_removed", extra={"files": leftovers})


def _received(pipe: Any) -> StoredInstance | None:
    try:
        told: StoredInstance = pipe.recv()
    except (EOFError, OSError):
        return None
    return told


def _tell_to_stop(child: _Child) -> None:
    try:
        child.pipe.send(STOP)
    except OSError as exc:
        logger.info("listener.gone", extra={"kind": type(exc).__name__})
