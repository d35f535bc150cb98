"""A call enters; its median seconds over some rounds leave, and the most memory that this process ever had."""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

_PEAK = "VmHWM:"  # counted anew from exec on, unlike ru_maxrss, which keeps the parent's


def median_s(name: str, call: Callable[[], object], *, rounds: int, warm_up: int = 1) -> float:
    """Median seconds of `call`, after rounds that do not count; every round is told on standard error."""
    for _ in range(warm_up):
        call()
    found = []
    for _ in range(rounds):
        started_s = time.perf_counter()
        call()
        found.append(time.perf_counter() - started_s)
    print(f"{name}: {' '.join(f'{seconds:.3f}' for seconds in found)} s", file=sys.stderr, flush=True)
    return statistics.median(found)


def peak_mb() -> float:
    """Largest resident set of this process so far, in MB. Raises RuntimeError where the system does not tell."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(_PEAK):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the system does not tell the peak of the resident set")
