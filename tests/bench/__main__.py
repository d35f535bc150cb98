"""`make bench`: each figure beside what a user could run instead, in the same run, as a ratio; nothing is asserted."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.overhead import overhead
from tests.bench.receive import receive
from tests.bench.result import Metric, write_result
from tests.support.peers import require_or_exit

BENCHMARKS: dict[str, Callable[[], Sequence[Metric]]] = {
    "receive_ct": receive,
    "overhead_s": lambda: [overhead()],
}


def main(arguments: list[str]) -> int:
    """Run the benchmarks; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--only", choices=sorted(BENCHMARKS), help="one benchmark")
    chosen = parser.parse_args(arguments)
    require_or_exit("Orthanc", "storescp", "dcmsend")
    metrics: list[Metric] = []
    for name, run in BENCHMARKS.items():
        if chosen.only in (None, name):
            print(f"bench: {name}", file=sys.stderr)
            metrics += run()
    for metric in metrics:
        ours = f"{metric.name:<12} {metric.value:9.2f} {metric.unit:<12}"
        print(f"{ours} {metric.ratio:6.2f} x {metric.baseline} ({metric.baseline_value:.2f})")
    print(write_result("bench", metrics, chosen.out, ok=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
