"""The interpreter that has the training requirements, for tests that run torch in a process of its own."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@functools.cache
def training_interpreter() -> str | None:
    """Path of a Python that imports torch and onnx: this one, or that of `.venv-train`; None without either."""
    candidates = (sys.executable, str(REPOSITORY / ".venv-train" / "bin" / "python"))
    for candidate in candidates:
        if Path(candidate).is_file():
            probe = subprocess.run(
                [candidate, "-c", "import onnxscript, safetensors, torch"], check=False, capture_output=True
            )
            if probe.returncode == 0:
                return candidate
    return None


def run_training_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m ...` with the training requirements, or skip the test where they are not installed."""
    interpreter = training_interpreter()
    if interpreter is None:
        pytest.skip("needs requirements-train.txt (torch) in this environment or in .venv-train")
    return subprocess.run([interpreter, "-m", *arguments], check=False, capture_output=True, text=True, cwd=REPOSITORY)
