"""Orderly endings: termination signals are blocked before any library starts a thread, and waited for in one place."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.05


def block() -> None:
    """Block the stop signals in this thread and all threads started from it. Call before importing numpy or torch."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def die_with_parent(parent_pid: int | None = None) -> None:
    """Ask Linux to kill this process when its parent dies, so that no role outlives its supervisor with a port held.

    A parent that is given and is gone by now is not waited for.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)


def wait(timeout_s: float) -> bool:
    """Wait for a stop signal; True when one came within the time.

    signal.sigtimedwait is not used: after SIGSTOP and SIGCONT it returns as if a signal had come (CPython 3.11).
    """
    ends_s = time.monotonic() + timeout_s
    while not signal.sigpending() & STOP_SIGNALS:
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(left_s, _LOOK_S))
    signal.sigwait(STOP_SIGNALS)
    return True


def on_stop(act: Callable[[], None], ended: threading.Event) -> threading.Thread:
    """Run `act` once on its own thread when a stop signal comes; the thread leaves quietly once `ended` is set."""

    def watch() -> None:
        while not ended.is_set():
            if wait(0.2):
                act()
                return

    thread = threading.Thread(target=watch, name="signals", daemon=True)
    thread.start()
    return thread
