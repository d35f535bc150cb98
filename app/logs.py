"""Log records to one JSON object a line on stderr: the event's name, the time, and the keyed facts given with it."""

import json
import logging
import sys
import warnings
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_QUIET = (
    "pynetdicom",
    "dicomweb_client",
    "procrastinate",
    "psycopg.pool",
    "httpx",
    "urllib3",
    "hl7apy",
    "uvicorn.access",
    "highdicom",
    "pydicom",
)
"""Libraries that log requests, identifiers or whole jobs: warnings of theirs only, and never their arguments."""


class JsonLines(logging.Formatter):
    """One JSON object a record. Tracebacks are not printed: they show values, and values can name a patient."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage()
            if record.name.split(".")[0] in ("app", "operators", "models")
            else _library(record),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
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
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it prints the value it objects to
    warnings.simplefilter("ignore")  # so do its warnings
