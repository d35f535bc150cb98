"""What reaches the log: our own events with their facts, of libraries the fixed text alone."""

import json
import logging
from collections.abc import Iterator

import pytest

from app import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("procrastinate", "httpx", "psycopg.pool", "pydicom")}
    yield
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_events_carry_their_facts(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("app.desk").info("study.filed", extra={"study": "ab12"})
    (line,) = lines(capsys)
    assert (line["event"], line["study"], line["level"]) == ("study.filed", "ab12", "info")


def test_of_libraries_neither_arguments_nor_extras_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("somelib").warning("odd value %s", "Doe^Jane", extra={"job": {"study_uid": "1.2.3"}})
    said = capsys.readouterr().err
    assert "odd value" in said
    assert "Doe" not in said
    assert "1.2.3" not in said


def test_exceptions_are_not_printed_with_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    try:
        int("Doe^Jane")
    except ValueError:
        logging.getLogger("somelib").exception("it failed")
    assert "Doe" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["procrastinate", "procrastinate.worker", "pydicom"])
def test_what_prints_its_arguments_into_its_text_is_silent(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger(name).error("Job interval.compare_study(study_uid='1.2.3') ended with status: Error")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["httpx", "psycopg.pool"])
def test_what_logs_requests_is_heard_only_when_it_fails(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger(name).info("GET /studies")
    assert capsys.readouterr().err == ""
