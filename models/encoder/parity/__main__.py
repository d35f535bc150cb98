"""`python -m models.encoder.parity --fixtures DIR --out DIR [--path torch|onnx]`: compare with the reference."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from models.encoder.result import ExitCode, write_rows
from models.shared.checkpoints import CheckpointError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.encoder.parity", description=__doc__)
    parser.add_argument("--fixtures", type=Path, required=True, help="folder with the checkpoint and its arrays")
    parser.add_argument("--out", type=Path, required=True, help="folder for result.json")
    parser.add_argument("--path", choices=("torch", "onnx"), action="append", help="default: both")
    options = parser.parse_args(arguments)
    try:
        from models.encoder.parity.measure import CHECKPOINT, measure_parity  # noqa: PLC0415  (named if missing)
    except ModuleNotFoundError as exc:
        print(f"parity needs the package {exc.name}: pip install -r requirements-train.txt", file=sys.stderr)
        return ExitCode.MISSING_PREREQUISITE
    if not (options.fixtures / CHECKPOINT).is_file():
        print(f"{CHECKPOINT} is missing in the folder of fixtures", file=sys.stderr)
        return ExitCode.MISSING_PREREQUISITE
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, object]] = []
    try:
        for row in measure_parity(options.fixtures, tuple(options.path or ("torch", "onnx"))):
            print(f"{row.status:5} {row.path:6} {row.file} {row.max_error} {row.reason}", file=sys.stderr)
            rows.append(asdict(row))
    except CheckpointError as exc:
        print(exc, file=sys.stderr)
        return ExitCode.REFUSED_INPUT
    ok = all(row["status"] != "fail" for row in rows)
    print(write_rows(options.out, command="parity", ok=ok, metrics=rows, artifacts={}))
    return ExitCode.PASSED if ok else ExitCode.CRITERION_FAILED


if __name__ == "__main__":
    sys.exit(main())
