"""What stands in the log: our own facts, of libraries fixed text only; no value of an exception, wherever it ends."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from app.logs import JsonLines
from tests.docs.pages import ROOT

NAME = "DOE^JANE"


def line_of(name: str, message: object, *args: object, **given: Any) -> dict[str, Any]:
    """The line that a record becomes."""
    logger = logging.getLogger(name)
    record = logger.makeRecord(name, logging.ERROR, "/lib/acse.py", 95, message, args, **{"exc_info": None, **given})
    line: dict[str, Any] = json.loads(JsonLines().format(record))
    return line


def test_our_own_facts_are_told() -> None:
    line = line_of("operators.receive.listener", "object.stored", extra={"study": "0123456789ab", "size_bytes": 7})
    assert (line["event"], line["study"], line["size_bytes"], line["level"]) == (
        "object.stored",
        "0123456789ab",
        7,
        "error",
    )


@pytest.mark.parametrize(
    ("logger", "message", "args"),
    [
        ("pynetdicom.acse", ValueError(NAME), ()),
        ("pynetdicom.acse", f"Invalid value {NAME}", ()),
        ("highdicom", "Invalid value %s", (NAME,)),
        ("root", f"put {NAME}", ()),
        ("asyncio", f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{NAME}')>", ()),
        ("asyncio", f"Exception in callback store('{NAME}')\nhandle: <Handle>", ()),
        ("uvicorn.error", f"Traceback (most recent call last):\n  ValueError: {NAME}", ()),
    ],
)
def test_a_library_cannot_tell_a_value(logger: str, message: object, args: tuple[object, ...]) -> None:
    line = line_of(logger, message, *args, exc_info=(KeyError, KeyError(NAME), None), extra={"patient": NAME})
    assert NAME not in json.dumps(line)
    assert (line["place"], line["kind"]) == ("acse.py:95", "KeyError")


def test_the_fixed_text_of_a_library_is_told() -> None:
    assert line_of("httpx", "HTTP Request: %s", NAME)["event"] == "HTTP Request: %s"
    assert line_of("uvicorn.error", "Uvicorn running on %s", "127.0.0.1")["event"] == "Uvicorn running on 127.0.0.1"


@pytest.mark.parametrize(
    "ending",
    [
        "raise ValueError(NAME)",
        "import threading; thread = threading.Thread(target=int, args=(NAME,)); thread.start(); thread.join()",
        "class A:\n    def __del__(self): int(NAME)\nA()",
        "import asyncio\nasync def a():\n    t = asyncio.ensure_future(b()); await asyncio.sleep(0.01)\n"
        "async def b(): int(NAME)\nasyncio.run(a())",
        "import logging; logging.getLogger('app').error('%s %s', NAME)",
    ],
)
def test_what_nothing_catches_ends_as_a_line_without_its_value(ending: str) -> None:
    program = f"from app import logs\nlogs.configure()\nlogs.hold_tracebacks()\nNAME = 'DOE' + '^JANE'\n{ending}"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert NAME not in ended.stderr
    assert "Traceback" not in ended.stderr
    for line in ended.stderr.splitlines():
        assert json.loads(line)["event"] in ("exception.uncaught", "text withheld")
    assert ended.returncode == (1 if ending.startswith("raise") else 0)
    assert ended.stderr or "logging" in ending


def test_the_program_holds_its_tracebacks() -> None:
    program = (
        "import sys, runpy, app.cli.main\n"
        "def broken(arguments): raise ValueError('DOE' + '^JANE')\n"
        "app.cli.main.main = broken\n"
        "runpy.run_module('app', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert NAME not in ended.stderr
    assert "exception.uncaught" in ended.stderr
