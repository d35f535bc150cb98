"""`make bench`: each figure beside what a user could run instead, in the same run, as a ratio; nothing is asserted."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench.medreco import RUNTIMES, MedReco
from tests.bench.overhead import overhead
from tests.bench.receive import receive
from tests.bench.result import Metric, MissingPrerequisiteError, write_result
from tests.support.peers import require_or_exit

PASS, MISSING = 0, 3
_PEERS = ("Orthanc", "storescp", "dcmsend")
_WITH_PEERS = ("receive_ct", "overhead_s")
_LONG = "ct_56"

Benchmarks = Mapping[str, Callable[[], Sequence[Metric]]]


def benchmarks(cache: Path, runtime: str = RUNTIMES[0]) -> Benchmarks:
    """All benchmarks by name, in the order they run; the model's keep what they made in `cache`."""
    model = MedReco(cache, runtime)
    return {
        "receive_ct": receive,
        "overhead_s": lambda: [overhead()],
        "cxr_1": model.cxr_1,
        "cxr_75": model.cxr_75,
        "ct_56": model.ct_56,
        "rerank_50": model.rerank_50,
    }


def main(arguments: list[str]) -> int:
    """Run the benchmarks; return the exit code: 3 where one of them could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    names = list(benchmarks(Path()))
    parser.add_argument("--only", choices=names, action="append", help="these benchmarks; may be given again")
    parser.add_argument("--no-ct", action="store_true", help=f"leave out {_LONG}, which takes minutes")
    parser.add_argument("--runtime", choices=RUNTIMES, default=RUNTIMES[0], help="what runs the node's graphs")
    chosen = parser.parse_args(arguments)
    wanted = [name for name in chosen.only or names if not (chosen.no_ct and name == _LONG)]
    if set(wanted) & set(_WITH_PEERS):
        require_or_exit(*_PEERS)
    metrics, skipped = run(benchmarks(chosen.out, chosen.runtime), wanted)
    for metric in metrics:
        print(line(metric))
    print(write_result("bench", metrics, chosen.out, ok=not skipped, skipped=skipped))
    return MISSING if skipped else PASS


def run(known: Benchmarks, wanted: Sequence[str]) -> tuple[list[Metric], dict[str, str]]:
    """Run the `wanted` benchmarks; return their figures, and why the others of them gave none."""
    metrics: list[Metric] = []
    skipped: dict[str, str] = {}
    for name in wanted:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        try:
            metrics += known[name]()
        except MissingPrerequisiteError as exc:
            skipped[name] = str(exc)
    for reason in dict.fromkeys(skipped.values()):
        without = ", ".join(name for name, why in skipped.items() if why == reason)
        print(f"{reason} Without it: no {without}.", file=sys.stderr)
    return metrics, skipped


def line(metric: Metric) -> str:
    """Return the figure as people read it."""
    own = f"{metric.name:<24} {metric.value:12.6g} {metric.unit:<12}"
    if metric.ratio is None or metric.baseline_value is None:
        return own.rstrip()
    return f"{own} {metric.ratio:8.2f} x {metric.baseline} ({metric.baseline_value:.4g})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
