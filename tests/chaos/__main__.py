"""`python -m tests.chaos`: processes killed at random moments of a run; the last line says what was lost or doubled."""

import argparse
import signal
import sys
from pathlib import Path

from models.encoder.result import write_rows
from tests.chaos.run import Outcome, Scale, run
from tests.chaos.victims import OF_THE_NODE, Kind
from tests.support.peers.folders import open_folder
from tests.support.peers.programs import require_or_exit

_STUDIES = 10
_GAP_S = 4.0


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit code: 1 when something was lost or doubled, 3 when a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="how many processes are killed")
    parser.add_argument("--seed", type=int, default=0, help="what draws moments, victims and studies")
    parser.add_argument("--out", type=Path, default=Path("build/chaos"), help="where result and logs are put")
    parser.add_argument("--studies", type=int, default=_STUDIES, help="how many studies are sent meanwhile")
    parser.add_argument("--gap-s", type=float, default=_GAP_S, help="mean seconds from kill to kill")
    parser.add_argument("--peers", action="store_true", help="kill the PACS and the RIS too")
    parser.add_argument("--only", type=Kind, choices=list(Kind), action="append", help="kill this kind, and no other")
    given = parser.parse_args(arguments)
    if given.n < 0 or given.studies < 1 or given.gap_s <= 0:
        parser.error("--n must not be below 0, --studies at least 1, --gap-s above 0")
    require_or_exit("Orthanc", "libOrthancDicomWeb.so", "dcmsend")
    signal.signal(signal.SIGTERM, _end)
    kinds = tuple(given.only or (Kind if given.peers else OF_THE_NODE))
    scale = Scale(studies=given.studies, kills=given.n, within_s=max(given.n, 3) * given.gap_s, kinds=kinds)
    out: Path = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with open_folder() as folder:
        try:
            outcome = run(scale, seed=given.seed, folder=folder)
        finally:
            _keep_logs(folder, out)
    _tell_end(outcome)
    artifacts = {"result": "result.json", "node_log": "node.log", "pacs_log": "pacs.log", "ris_log": "ris.log"}
    print(write_rows(out, command="chaos", ok=outcome.is_clean, metrics=outcome.metrics(), artifacts=artifacts))
    return 0 if outcome.is_clean else 1


def _end(*_: object) -> None:
    """End in order, so that the house does too."""
    sys.exit(128 + signal.SIGTERM)


def _tell_end(outcome: Outcome) -> None:
    for problem in outcome.problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    whole = outcome.figures[0]
    print(
        f"{whole.tried} kills in {outcome.seconds:.0f} s, {outcome.refused} objects and {outcome.resent} messages "
        f"sent again: {whole.lost} studies lost, {whole.doubled} doubled.",
        file=sys.stderr,
    )


def _keep_logs(folder: Path, out: Path) -> None:
    for name, path in (
        ("node.log", folder / "node" / "node.log"),
        ("postgres.log", folder / "node" / "state" / "postgres" / "postgres.log"),
        ("pacs.log", folder / "pacs" / "orthanc.log"),
        ("ris.log", folder / "ris" / "ris.log"),
    ):
        if path.exists():
            (out / name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
