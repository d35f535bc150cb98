"""The repository enters, a folder that the packager of MONAI Deploy takes leaves.

    python -m deploy.map.stage --out build/map
    holoscan package build/map/app --config build/map/app.yaml --platform x86_64 --tag interval:0.1.0

The packager copies the CONTENTS of the application's folder and runs it as a directory, so `app`, `operators` and
`models` have to lie side by side in it. Model bundles lie where the program looks for them, models/bundles; no -m is
needed. The second command needs Docker and downloads base images; it has not been run.
"""

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "operators", "models")
APPLICATION, CONFIG = "app", "app.yaml"

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def stage(out: Path) -> Path:
    """Lay the application out in `out`, in place of an earlier staging; return its folder.

    Raises FileExistsError when `out` holds anything else.
    """
    out.mkdir(parents=True, exist_ok=True)
    foreign = sorted({path.name for path in out.iterdir()} - {APPLICATION, CONFIG})
    if foreign:
        raise FileExistsError(f"{out} holds {foreign[0]}, which is no part of a staging")
    application = out / APPLICATION
    if application.exists():
        shutil.rmtree(application)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, application / name, ignore=_LEFT_OUT)
    shutil.copyfile(Path(__file__).with_name("entry.py"), application / "__main__.py")
    for name in (CONFIG, "requirements.txt", "LICENSE"):
        shutil.copyfile(ROOT / name, application / name)
    shutil.copyfile(ROOT / CONFIG, out / CONFIG)
    return application


def main() -> int:
    """Stage to the folder that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.map.stage", description="Lay out what the packager takes.")
    parser.add_argument("--out", type=Path, default=Path("build/map"), metavar="FOLDER")
    try:
        application = stage(parser.parse_args().out)
    except OSError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    sys.stdout.write(f"{application}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
