"""`python -m models.encoder.train --data DIR --out DIR [--seed N]`: train a bundle and write it to OUT/<name>."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from models.encoder.films import DataError, DataErrorCode
from models.encoder.result import ExitCode, log_progress, write_result
from models.shared.pixels import PixelError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.encoder.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with metadata.csv, images and weights")
    parser.add_argument("--out", type=Path, required=True, help="folder for the bundle and result.json")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the weights (default 0)")
    options = parser.parse_args(arguments)
    log_progress()
    try:
        from models.encoder.train.pipeline import TrainingResult, train_bundle  # noqa: PLC0415  (named if missing)
        from models.encoder.train.recipe import Recipe  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        print(f"training needs the package {exc.name}: pip install -r requirements-train.txt", file=sys.stderr)
        return ExitCode.MISSING_PREREQUISITE
    recipe = Recipe()
    bundle = options.out / recipe.name
    started = time.monotonic()
    try:
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir(parents=True)
        result: TrainingResult = train_bundle(options.data, bundle, recipe=recipe, seed=options.seed)
    except DataError as exc:
        print(exc, file=sys.stderr)
        missing = {DataErrorCode.NO_METADATA, DataErrorCode.NO_WEIGHTS}
        return ExitCode.MISSING_PREREQUISITE if exc.code in missing else ExitCode.REFUSED_INPUT
    except (PixelError, OSError) as exc:
        print(f"a film cannot be read, or the bundle not written: {exc}", file=sys.stderr)
        return ExitCode.REFUSED_INPUT
    print(f"trained in {time.monotonic() - started:.0f} s", file=sys.stderr)
    figures = [*(figure for row in result.served for figure in row.figures), *result.macro]
    ok = bool(result.served)
    print(write_result(options.out, command="train", ok=ok, figures=figures, artifacts={"bundle": str(bundle)}))
    return ExitCode.PASSED if ok else ExitCode.CRITERION_FAILED


if __name__ == "__main__":
    sys.exit(main())
