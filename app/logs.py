"""Log records to one JSON object a line on stderr: the event's name, the time, and the keyed facts given with it.

Of other people's libraries only the fixed text is printed: their arguments, extras and exceptions may hold identifiers.
"""

import json
import logging
import sys
import warnings
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_OURS = ("app", "operators", "models")
_QUIET = (
    "pynetdicom",
    "dicomweb_client",
    "psycopg.pool",
    "httpx",
    "urllib3",
    "hl7apy",
    "uvicorn.access",
    "highdicom",
)
"""Libraries that log requests and identifiers: errors of theirs only, and never their arguments."""
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
            line["event"] = _library(record)
        return json.dumps(line, default=str, ensure_ascii=False)


def _library(record: logging.LogRecord) -> str:
    """Text of a library's record without its arguments, which may be identifiers; uvicorn's are addresses."""
    if record.args and not record.name.startswith("uvicorn"):
        return str(record.msg)
    return record.getMessage()[:200]


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
