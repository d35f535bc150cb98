"""A checkpoint and a request enter; an installed bundle, or the sentence why there is none, leaves.

Conversion needs torch, which the node never imports: it runs in a process of its own, with the training requirements,
and writes to a hidden folder beside the destination. Only what was tested there is renamed to its place, so that a
failure, an interruption or a power cut leaves nothing that looks installed.
"""

import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import signals
from app.bundles import installed_bundles
from app.settings import Settings
from models.importing.request import ImportRequest, to_json
from models.shared.bundle_files import bundle_id_of, list_files, verify_files
from operators.domain.errors import ConfigError, PrerequisiteMissingError

logger = logging.getLogger(__name__)

CODE_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("torch", "monai", "onnx", "onnxscript", "onnxruntime", "safetensors", "numpy")
_BEING_MADE = ".importing-"
_LOCK = ".importing.lock"
_PROBE = "import importlib.util, sys; print(*(n for n in sys.argv[1:] if importlib.util.find_spec(n) is None))"
_HELP = "install requirements-train.txt (`make setup-train`), or name a Python that has it in models.training_python."
_LOOK_S = 0.2
_OUT_OF_MEMORY = (signal.SIGKILL, signal.SIGBUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The bundle that was installed; `told` is what the conversion reported."""

    bundle_id: str
    folder: Path
    bundle_bytes: int
    told: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotImported:
    """Nothing was installed. `exit_code` 4: the source was refused, 1: what was made failed its test."""

    exit_code: int
    code: str
    sentence: str


def training_python(settings: Settings) -> str:
    """Find the Python that converts. Raises PrerequisiteMissingError."""
    named = settings.models.training_python
    python = named or str(CODE_ROOT / ".venv-train" / "bin" / "python")
    try:
        probe = subprocess.run([python, "-c", _PROBE, *_PACKAGES], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        where = "models.training_python does not run" if named else "There is no Python that converts checkpoints"
        raise PrerequisiteMissingError(f"{where}: {_HELP}") from exc
    if missing := probe.stdout.split():
        raise PrerequisiteMissingError(f"The Python that converts checkpoints lacks {', '.join(missing)}: {_HELP}")
    return python


def import_bundle(source: Path, request: ImportRequest, settings: Settings, root: Path) -> Installed | NotImported:
    """Convert `source` and install it as `root`/<name>.

    Raises ConfigError where the name is taken, the folder cannot be written, or another import runs;
    PrerequisiteMissingError; KeyboardInterrupt. After each of them, as after a refusal, `root` is as it was.
    """
    _refuse_taken(request.name, settings, root)
    python = training_python(settings)
    with _only_import(root), _folder_being_made(root) as folder:
        out, result = folder / "bundle", folder / "result.json"
        out.mkdir()
        command = [python, "-m", "models.importing.convert", str(source.absolute())]
        command += ["--out", str(out), "--result", str(result), "--request", to_json(request)]
        ended = _run(command)
        told = _told(result)
        if ended != 0:
            return _failure(ended, told)
        bundle_id = bundle_id_of(request.name, verify_files(out))
        size = sum((out / name).stat().st_size for name in list_files(out))
        _put(out, root / request.name)
    logger.info("bundle.imported", extra={"bundle": bundle_id})
    return Installed(bundle_id=bundle_id, folder=root / request.name, bundle_bytes=size, told=told)


def _refuse_taken(name: str, settings: Settings, root: Path) -> None:
    if name in installed_bundles(settings.node.state_dir) or (root / name).exists():
        raise ConfigError(f"A bundle called {name} is installed already: give another name with --name.")


def _run(command: list[str]) -> int:
    """Run to the end, its progress on our standard error. A stop signal ends it too: raises KeyboardInterrupt."""
    with subprocess.Popen(
        command,
        cwd=CODE_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=_begin_child,  # noqa: PLW1509 - no other thread runs in this command
    ) as process:
        try:
            return _ended(process)
        except KeyboardInterrupt:
            process.terminate()
            raise


def _begin_child() -> None:
    """Let stop signals through, which the node's commands hold back, and end with the command."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.STOP_SIGNALS)
    signals.die_with_parent()


def _ended(process: "subprocess.Popen[bytes]") -> int:
    ended = None
    while ended is None:
        with suppress(subprocess.TimeoutExpired):
            ended = process.wait(_LOOK_S)
        if signals.wait(0):
            raise KeyboardInterrupt
    return ended


def _told(result: Path) -> dict[str, Any]:
    try:
        told = json.loads(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _failure(ended: int, told: dict[str, Any]) -> NotImported:
    sentence = str(told.get("sentence", ""))
    if ended == 3:
        raise PrerequisiteMissingError(sentence or f"A requirement is missing: {_HELP}")
    if -ended in _OUT_OF_MEMORY:
        raise PrerequisiteMissingError("The conversion was ended by the system, most likely for want of memory.")
    if not sentence:
        sentence = f"The conversion ended without a word (code {ended})."
    return NotImported(exit_code=4 if ended == 4 else 1, code=str(told.get("code", "failed")), sentence=sentence)


@contextmanager
def _only_import(root: Path) -> Iterator[None]:
    """Hold the folder's lock; under it, what an import that was killed left behind is removed."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / _LOCK).open("w")
    except OSError as exc:
        raise ConfigError(f"Bundles cannot be put into {root} ({type(exc).__name__}).") from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConfigError("Another import into this folder is running.") from exc
        for left in root.glob(f"{_BEING_MADE}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def _folder_being_made(root: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_BEING_MADE, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(made: Path, place: Path) -> None:
    """Move the finished bundle to its place, its bytes on the disk before its name."""
    for path in made.rglob("*"):
        if path.is_file():
            _sync(path)
    made.rename(place)
    _sync(place.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
