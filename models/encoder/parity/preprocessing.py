"""The fixture of the published preprocessing enters: files and what becomes of them; checks of each case leave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.encoder.parity.checks import (
    Arrays,
    Check,
    Checker,
    MalformedError,
    NotApplicableError,
    absolute,
    exact,
    relative,
)
from models.shared.volumes import reference_input

ONNX_NOT_APPLICABLE: Final = "preprocessing comes before the served graphs; it is the same for both paths"
VOLUME_TOLERANCE: Final = 2e-6  # CT: absolute; MRI: times the largest absolute value
_MANIFEST: Final = "preprocessing_manifest.json"
_MODALITIES: Final = {"ct_": "3D-CT", "mri_": "3D-Brain-MRI"}


def preprocessing_checkers(folder: Path) -> tuple[Checker, ...]:
    """Checker of the cases that the manifest beside `preprocessing.npz` lists."""
    return (Checker("preprocessing", lambda _, arrays, path: _cases(folder, arrays, path)),)


def _cases(folder: Path, arrays: Arrays, path: str) -> Iterator[Check]:
    """Compare every case; an image array ends in _u8, a CT is the block of real data at an offset, an MRI is whole."""
    if path != "torch":
        raise NotApplicableError(ONNX_NOT_APPLICABLE)
    cases: Mapping[str, Mapping[str, Any]] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["cases"]
    for name, case in cases.items():
        modality = case.get("modality") or next((m for start, m in _MODALITIES.items() if name.startswith(start)), "")
        if not modality:
            raise MalformedError(f"the manifest does not tell the modality of {name}")
        _, depth, rows, _ = case["output_shape"]
        side = {"side_px": rows} | ({"depth": depth} if modality == "3D-CT" else {})
        got = reference_input(folder / case["file"], modality, **side)
        yield exact(f"{name} shape", np.array(got.shape), np.array(case["output_shape"]))
        yield from _values(name, case, got, arrays)


def _values(name: str, case: Mapping[str, Any], got: np.ndarray, arrays: Arrays) -> Iterator[Check]:
    if f"{name}_u8" in arrays:
        levels = np.rint(got[0, 0] * 255).astype(np.uint8)
        yield exact(f"{name}_u8", levels, arrays[f"{name}_u8"])
        yield absolute(f"{name}_u8", got[0, 0], arrays[f"{name}_u8"].astype(np.float32) / np.float32(255), 1e-7)
    elif f"{name}_block" in arrays:
        block, offset = arrays[f"{name}_block"], arrays[f"{name}_offset"]
        z, x, y = (slice(start, start + size) for start, size in zip(offset.tolist(), block.shape, strict=True))
        yield absolute(f"{name}_block", got[0, z, x, y], block, VOLUME_TOLERANCE)
        got[0, z, x, y] = outside = np.float32(case.get("outside_block", -1.0))
        yield Check(f"{name} outside", float(np.count_nonzero(got != outside)), 0.0, (f"{name}_offset",))
    else:
        yield relative(name, got, arrays[name], VOLUME_TOLERANCE)
