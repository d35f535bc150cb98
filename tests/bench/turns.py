"""Named calls enter in one process; another has them made one at a time and gets how long each took.

Two such processes take turns, so that whatever else the machine does falls on both. The worker reads one name a line
and answers with one line of JSON each; at the end of its input it answers with its peak memory.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

Answer = TypeVar("Answer")
_PEAK = "VmHWM:"  # counted anew from exec on, unlike ru_maxrss, which keeps the parent's


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """How long one call took: `wall_s` on the clock, `cpu_s` of the processors, all threads together."""

    wall_s: float
    cpu_s: float


def work(calls: Mapping[str, Callable[[], Answer]]) -> dict[str, Answer]:
    """Make the calls that standard input names, until it ends; tell the peak memory; return each call's last answer."""
    last: dict[str, Answer] = {}
    for line in sys.stdin:
        name = line.strip()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        last[name] = calls[name]()
        took = Took(wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s)
        print(json.dumps(asdict(took)), flush=True)
    print(json.dumps({"peak_mb": peak_mb()}), flush=True)
    return last


def peak_mb() -> float:
    """Largest resident set of this process so far, in MB. Raises RuntimeError where the system does not tell."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(_PEAK):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the system does not tell the peak of the resident set")


class Worker:
    """A process that runs `work`, for the length of a `with`. RuntimeError says that it ended before it was told to."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command, self._folder = command, folder

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True, cwd=self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()

    def take(self, name: str) -> Took:
        """Have the call of that name made once."""
        if self._process.stdin is None:
            raise RuntimeError("the worker has no input")
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return Took(**self._answer())

    def finish(self) -> float:
        """End the worker and wait until it is gone; return its peak memory in MB."""
        if self._process.stdin is None:
            raise RuntimeError("the worker has no input")
        self._process.stdin.close()
        self._process.stdin = None
        peak = self._answer()["peak_mb"]
        if code := self._process.wait():
            raise RuntimeError(f"{self._command[2]} ended with {code}")
        return peak

    def _answer(self) -> dict[str, float]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"{self._command[2]} ended with {self._process.wait()} before it answered")
        answer: dict[str, float] = json.loads(line)
        return answer
