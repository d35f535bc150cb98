"""A checkpoint and a request enter; a bundle folder and a file of results leave.

    python -m models.importing.convert SOURCE --out FOLDER --result FILE --request JSON

`python -m app models import` runs this with the training requirements. Exit codes: 0 the bundle is complete and was
tested, 1 its graphs do not compute what the checkpoint does, 2 usage, 3 a requirement or space is missing, 4 the source
was refused. Unless it ends with 2, the result file holds one JSON object with at least `sentence`, empty where all went
well.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.encoder.result import ExitCode, log_progress
from models.importing.refusals import ImportRefusedError, SelfTestFailedError
from models.importing.request import ImportRequest, RequestError, from_json

logger = logging.getLogger(__name__)

Told = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Convert; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.importing.convert")
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="empty folder that becomes the bundle")
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--request", required=True, help="what models.importing.request writes")
    chosen = parser.parse_args(arguments)
    try:
        request = from_json(chosen.request)
    except RequestError as exc:
        parser.error(str(exc))
    log_progress()
    logging.getLogger("torch").setLevel(logging.ERROR)  # the exporter tells of its own internals
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # an interruption ends it without a traceback; who started it cleans up
    started = time.monotonic()
    code, told = _run(chosen.source, request, chosen.out)
    told |= {"seconds": round(time.monotonic() - started, 1), "peak_rss_bytes": peak_rss_bytes()}
    chosen.result.write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")
    return code


def peak_rss_bytes() -> int:
    """Most memory that this process has held at any time, what it mapped of the checkpoint included."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def _run(source: Path, request: ImportRequest, out: Path) -> tuple[int, Told]:
    try:
        from models.importing.convert.conversion import convert  # noqa: PLC0415 - it needs torch, which may be missing
    except ImportError as exc:
        sentence = f"The Python that converts lacks {exc.name}: install requirements-train.txt there."
        return ExitCode.MISSING_PREREQUISITE, {"sentence": sentence}
    try:
        return ExitCode.PASSED, {"sentence": ""} | convert(source, request, out)
    except ImportRefusedError as exc:
        return ExitCode.REFUSED_INPUT, {"sentence": exc.sentence, "code": exc.code}
    except SelfTestFailedError as exc:
        return ExitCode.CRITERION_FAILED, {"sentence": exc.sentence}
    except OSError as exc:
        sentence = f"The bundle could not be written ({exc.strerror or type(exc).__name__}); nothing was installed."
        return ExitCode.MISSING_PREREQUISITE, {"sentence": sentence}
    except Exception as exc:  # the process's outer boundary: one sentence, never a traceback
        logger.debug("import.failed", exc_info=True)
        sentence = f"The conversion failed ({type(exc).__name__}); nothing was installed."
        return ExitCode.CRITERION_FAILED, {"sentence": sentence}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
