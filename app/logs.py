"""Log records to one JSON object a line on stderr: the event's name, the time, and the keyed facts given with it.

Of other people's libraries only fixed text is printed, with the place that said it and the kind of exception: their
arguments, extras, exceptions and ready-made sentences may hold identifiers.
"""

import json
import logging
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

logger = logging.getLogger(__name__)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_OURS = ("app", "operators", "models")
_QUIET = (
    "asyncio",
    "pynetdicom",
    "dicomweb_client",
    "psycopg.pool",
    "httpx",
    "urllib3",
    "hl7apy",
    "uvicorn.access",
    "highdicom",
)
"""Libraries that log requests and identifiers: errors of theirs only."""
_SILENT = ("procrastinate", "pydicom")
"""Libraries whose very texts hold a job's arguments or the value they object to."""


class JsonLines(logging.Formatter):
    """One JSON object a record. Tracebacks are not printed: they show values, and values can name a patient."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if record.name.split(".")[0] in _OURS:
            line["event"] = record.getMessage()
            line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        else:
            line.update(_library(record))
        return json.dumps(line, default=str, ensure_ascii=False)


def _library(record: logging.LogRecord) -> dict[str, str]:
    """Return what may be told of a library's record.

    A text that comes without arguments may have been put together from them, or be an exception; then the place in the
    library tells what was said. Only uvicorn's texts are known to be fixed and its arguments to be addresses.
    """
    told = {"event": "text withheld", "place": f"{record.filename}:{record.lineno}"}
    if record.name.startswith("uvicorn"):
        told["event"] = record.getMessage().partition("\n")[0][:200]
    elif record.args and isinstance(record.msg, str):
        told["event"] = record.msg
    if record.exc_info and record.exc_info[0]:
        told["kind"] = record.exc_info[0].__name__
    return told


def configure(level: str = "INFO") -> None:
    """Send all logging to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")  # pydicom's, too, print values


def hold_tracebacks() -> None:
    """Let exceptions that nothing catches end in a line of the log: Python's own tracebacks print values."""
    sys.excepthook = lambda kind, _, trace: _uncaught(kind, trace)
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_traceback)
    logging.raiseExceptions = False


def _uncaught(kind: type[BaseException], trace: TracebackType | None) -> None:
    if issubclass(kind, SystemExit):  # a thread's own way to end
        return
    place = ""
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    logger.critical("exception.uncaught", extra={"kind": kind.__name__, "place": place})
