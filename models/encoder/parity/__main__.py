"""`python -m models.encoder.parity DIR [--out DIR] [--path torch|onnx]`: compare with the reference's numbers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from models.encoder.parity.checks import ParityRow
from models.encoder.result import ExitCode, write_rows
from models.importing.refusals import ImportRefusedError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.encoder.parity", description=__doc__)
    folder = parser.add_mutually_exclusive_group(required=True)
    folder.add_argument("folder", type=Path, nargs="?", help="folder with the checkpoint and its arrays")
    folder.add_argument("--fixtures", type=Path, help="the same as an option")
    parser.add_argument("--out", type=Path, default=Path("build/parity"), help="folder for result.json")
    parser.add_argument("--path", choices=("torch", "onnx"), action="append", help="default: both")
    options = parser.parse_args(arguments)
    fixtures: Path = options.folder or options.fixtures
    if not fixtures.is_dir():
        print(f"{fixtures} is not a folder", file=sys.stderr)
        return ExitCode.USAGE
    try:
        from models.encoder.parity.measure import measure_parity  # noqa: PLC0415  (named if missing)
    except ModuleNotFoundError as exc:
        print(f"parity needs the package {exc.name}: pip install -r requirements-train.txt", file=sys.stderr)
        return ExitCode.MISSING_PREREQUISITE
    if not any(fixtures.glob("*.npz")) and not any(fixtures.glob("*.safetensors")):
        print("retrieval.safetensors and its arrays (*.npz) are missing in the folder", file=sys.stderr)
        return ExitCode.MISSING_PREREQUISITE
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        print(f"{options.out} cannot be made a folder ({type(exc).__name__})", file=sys.stderr)
        return ExitCode.USAGE
    rows: list[Mapping[str, object]] = []
    try:
        for row in measure_parity(fixtures, options.path or ("torch", "onnx")):
            print(_line(row), file=sys.stderr, flush=True)
            rows.append(asdict(row))
    except ImportRefusedError as exc:
        print(exc, file=sys.stderr)
        return ExitCode.REFUSED_INPUT
    ok = all(row["status"] != "fail" for row in rows) and any(row["status"] == "pass" for row in rows)
    print(write_rows(options.out, command="parity", ok=ok, metrics=rows, artifacts={}))
    return ExitCode.PASSED if ok else ExitCode.CRITERION_FAILED


def _line(row: ParityRow) -> str:
    figures = "" if row.max_error is None else f"{row.max_error:.2e} of {row.tolerance:.0e} {row.array} "
    return f"{row.status:5} {row.path:6} {row.file:45} {figures}{row.reason}"


if __name__ == "__main__":
    sys.exit(main())
