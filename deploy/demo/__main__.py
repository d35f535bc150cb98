"""`python -m deploy.demo [--out DIR] [--keep]`: the main job on real films against a real PACS, database and RIS."""

import argparse
import shutil
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import pydicom

from deploy.demo import scene
from deploy.demo.films import Role, films, write_objects
from deploy.demo.outcome import Outcome, collect
from deploy.demo.printing import lines
from deploy.demo.telling import Telling
from models.encoder.result import ExitCode, write_rows
from tests.support.house import House
from tests.support.peers import PeerNotReadyError, open_folder, require_or_exit

_PROGRAMS = ("Orthanc", "libOrthancDicomWeb.so", "dcmsend")
_AGE_OF_THE_FOLLOW_UP = timedelta(minutes=20)


def main() -> int:
    """Play the demo; return the exit code."""
    chosen = _arguments()
    require_or_exit(*_PROGRAMS)
    signal.signal(signal.SIGTERM, _end)
    out = Path(chosen.out)
    out.mkdir(parents=True, exist_ok=True)
    tell = Telling()
    try:
        return _play(out, tell, keep=chosen.keep)
    except (scene.DemoFailedError, PeerNotReadyError) as error:
        print(f"demo: {error}", file=sys.stderr)
        print(write_rows(out, command="demo", ok=False, metrics=[], artifacts={}))
        return ExitCode.CRITERION_FAILED
    except KeyboardInterrupt:
        tell("Stopped")
        return 128 + signal.SIGINT


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument("--out", default="build/demo", metavar="DIR", help="folder for what is saved (build/demo)")
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running until Ctrl-C, to look at the page"
    )
    return parser.parse_args()


def _play(out: Path, tell: Telling, *, keep: bool) -> int:
    tell("A PACS (Orthanc), a RIS and the node with a PostgreSQL of its own start on free ports of this machine")
    with open_folder() as folder:
        house = scene.make_house(folder, out)
        try:
            outcome, seconds = _job(house, folder, out, tell)
            code = _report(outcome, out, {"total_s": tell.elapsed_s, "follow_up_to_draft_s": seconds}, keep=keep)
            if keep:
                _stay()
            return code
        finally:
            tell("PACS, RIS and node are being stopped")
            house.__exit__()
            _keep_logs(house, out / "logs")
            tell("They are stopped")


def _job(house: House, folder: Path, out: Path, tell: Telling) -> tuple[Outcome, float]:
    paths = write_objects(films(), folder / "films", datetime.now(UTC) - _AGE_OF_THE_FOLLOW_UP)
    by_role = {film.role: path for film, path in paths.items()}
    current, prior = by_role[Role.CURRENT], by_role[Role.PRIOR]
    scene.start(house, tell)
    scene.fill(house, paths, tell)
    seconds = scene.send_follow_up(house, current, tell)
    study_uid = str(pydicom.dcmread(current, stop_before_pixels=True).StudyInstanceUID)
    evidence = tuple(str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in (current, prior))
    return collect(house, study_uid, evidence, out), seconds


def _report(outcome: Outcome, out: Path, seconds: dict[str, float], *, keep: bool) -> int:
    for line in lines(outcome):
        print(line)
    print("\nThe page")
    print(f"  {outcome.page_url}\n  sign in with the token {outcome.token}")
    print(f"  {'It stays until Ctrl-C.' if keep else _HOW_TO_KEEP}\n")
    ok = not outcome.faults and outcome.saved is not None
    metrics = [{"name": name, "value": round(value, 2), "unit": "s"} for name, value in seconds.items()]
    print(write_rows(out, command="demo", ok=ok, metrics=metrics, artifacts=_artifacts(outcome)), flush=True)
    return ExitCode.PASSED if ok else ExitCode.CRITERION_FAILED


_HOW_TO_KEEP = "The demo stops now what it started. To look at the page: .venv/bin/python -m deploy.demo --keep"


def _artifacts(outcome: Outcome) -> dict[str, str]:
    artifacts = {"page_url": outcome.page_url, "study_uid": outcome.study_uid}
    if outcome.saved is not None:
        saved = {"sr": outcome.saved.sr, "pdf": outcome.saved.pdf, "oru": outcome.saved.oru, "page": outcome.saved.page}
        artifacts |= {name: str(path) for name, path in saved.items() if path is not None}
    return artifacts


def _stay() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


def _keep_logs(house: House, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for peer in (house.pacs, house.ris, house.node):
        if peer.log_path.exists():
            shutil.copy(peer.log_path, folder)


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
