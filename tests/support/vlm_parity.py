"""`python -m tests.support.vlm_parity PATH`: the checks of the fixtures' model as JSON. Needs torch."""

from __future__ import annotations

import json
import sys

import numpy as np

from tests.support.vlm_folder import FIXTURES


def main() -> int:
    """Print {file: [[label, error, tolerance], ...]} for one path, "torch" or "onnx"."""
    from models.vlm.nets.parity import vlm_checks  # noqa: PLC0415  (needs torch)

    checks = vlm_checks(FIXTURES)
    found = {}
    for file in sorted(FIXTURES.glob("vlm_*.npz")):
        with np.load(file) as arrays:
            found[file.name] = checks.check(file.name, dict(arrays), sys.argv[1])
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
