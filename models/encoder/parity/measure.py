"""A folder enters; how far this implementation is from its files leaves, by torch and by the exported graphs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from models.encoder.parity.checks import (
    Arrays,
    Checker,
    MalformedError,
    NotApplicableError,
    ParityRow,
    failure,
    row_of,
    skip,
)
from models.encoder.parity.folder import CHECKPOINTS, CONFIG, FixtureFolder, read_arrays
from models.encoder.parity.formulas import formula_checkers
from models.encoder.parity.preprocessing import preprocessing_checkers
from models.encoder.parity.retrieval import retrieval_checkers
from models.encoder.parity.training import training_checkers
from models.encoder.parity.vision_language import VLM_FILES, vlm_checkers
from models.shared.pixels import PixelError

PATHS: Final = ("torch", "onnx")
UNKNOWN: Final = "no comparison is known for a file of this name"
_COMPANIONS: Final = frozenset({*CHECKPOINTS, CONFIG, "preprocessing_manifest.json", "README.md"} | VLM_FILES)
_OWN_GRAPHS: Final = "exported_"
"""What tests without torch keep beside the fixtures: made by this code, nothing to compare it with."""

_NOT_COMPUTED: Final = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    RuntimeError,
    OSError,
    PixelError,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.RuntimeException,
)


def measure_parity(fixtures: Path, paths: Sequence[str] = PATHS) -> Iterator[ParityRow]:
    """Compare every file of the folder by each of `paths`: at least one row for each file, but for those of the model.

    Raises ImportRefusedError where a checkpoint or its configuration is refused.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = FixtureFolder(fixtures, Path(scratch))
        if folder.checkpoint:
            with contextlib.suppress(MalformedError):  # which then is the failure of each file that needs the model
                _ = folder.model  # a checkpoint that is refused is so before anything is measured
        checkers = _checkers(folder)
        for file in sorted(path for path in fixtures.iterdir() if path.is_file()):
            if file.name not in _COMPANIONS and not file.name.startswith(_OWN_GRAPHS):
                yield from _rows(file, checkers, paths)


def _checkers(folder: FixtureFolder) -> tuple[Checker, ...]:
    return (
        *retrieval_checkers(folder),
        *formula_checkers(folder),
        *training_checkers(folder),
        *preprocessing_checkers(folder.path),
        *vlm_checkers(folder.path),
    )


def _rows(file: Path, checkers: Sequence[Checker], paths: Sequence[str]) -> Iterator[ParityRow]:
    checker = next((one for one in checkers if file.name.startswith(one.prefix)), None)
    if checker is None or file.suffix != ".npz":
        yield from (skip(file.name, path, UNKNOWN) for path in paths)
        return
    try:
        arrays = read_arrays(file)
    except MalformedError as exc:
        yield from (failure(file.name, path, str(exc)) for path in paths)
        return
    for path in paths:
        yield _row(file.name, arrays, checker, path)


def _row(name: str, arrays: Arrays, checker: Checker, path: str) -> ParityRow:
    try:
        checks = list(checker.check(name, arrays, path))
    except NotApplicableError as exc:
        return skip(name, path, str(exc))
    except KeyError as exc:
        return failure(name, path, f"the array or entry {exc} is missing")
    except MalformedError as exc:
        return failure(name, path, str(exc))
    except _NOT_COMPUTED as exc:
        return failure(name, path, f"could not be computed: {type(exc).__name__}: {exc}".splitlines()[0])
    left = sorted(arrays.keys() - checker.inputs - {array for check in checks for array in check.covers})
    return row_of(name, path, checks, f"not compared: {', '.join(left)}" if left else "")
