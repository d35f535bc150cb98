"""The commands on a real database: what they print, and that what is wrong ends in one sentence and its exit code."""

import json
from pathlib import Path

import pytest

from app.cli.main import main
from operators.domain.database import Pool
from tests.support.working import job_of, put_revision, queued_jobs, revision_row

pytestmark = pytest.mark.peer

PARKED = {"stage": "encode", "reason_code": "no-readable-view", "reason": "No image is a view that the model reads."}


@pytest.fixture(autouse=True)
def _quiet_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.logs.configure", lambda level: None)


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    path = tmp_path / "interval.yaml"
    path.write_text("interval: {}\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "command", [["list"], ["show", "1.2.3"], ["close", "1.2.3"], ["retry", "1.2.3"], ["discard", "1.2.3"]]
)
def test_a_database_without_tables_is_told_in_one_sentence(
    command: list[str],
    empty_database_url: str,
    settings_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert main(["studies", *command, "--config", settings_file]) == 2
    assert "python -m app migrate" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["-1", "0", "ten", "1.5", "1000001", "9" * 40, "\u00b2", ""])
def test_a_limit_that_is_no_number_of_studies_is_a_wrong_usage(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["studies", "list", f"--limit={limit}"])
    assert ended.value.code == 2
    assert "whole number from 1 to 1000000" in capsys.readouterr().err


def test_studies_are_listed_shown_and_discarded(
    pool: Pool,
    database_url: str,
    settings_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    job = put_revision(pool, job_of("1.2.3"), "parked", **PARKED)
    put_revision(pool, job_of("1.2.4"), "queued")
    at = ["--config", settings_file]
    assert main(["studies", "list", "--limit", "1", "--json", *at]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert main(["studies", "show", "1.2.3", *at]) == 0
    assert PARKED["reason"] in capsys.readouterr().out
    assert main(["studies", "discard", "1.2.3", *at]) == 0
    assert revision_row(pool, job)["state"] == "withdrawn"
    assert main(["studies", "discard", "1.2.3", *at]) == 4
    assert main(["studies", "show", "1.2.9", *at]) == 4
    assert "No such study." in capsys.readouterr().err


def test_an_open_study_is_closed_once_and_its_job_queued(
    pool: Pool,
    database_url: str,
    settings_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    job = put_revision(pool, job_of("1.2.3"), "receiving")
    close = ["studies", "close", "1.2.3", "--config", settings_file]
    assert main([*close, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"study_uid": "1.2.3", "revision": 1, "done": "close"}
    row = revision_row(pool, job)
    assert (row["state"], row["closed_by"]) == ("queued", "forced")
    assert [queued["args"] for queued in queued_jobs(pool)] == [{"study_uid": "1.2.3", "revision": 1}]
    assert main(close) == 4
    assert "its state is queued" in capsys.readouterr().err
    assert len(queued_jobs(pool)) == 1


def test_an_unknown_study_is_not_closed(
    database_url: str, settings_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert main(["studies", "close", "1.2.9", "--config", settings_file]) == 4
    assert "No such study." in capsys.readouterr().err


def test_a_node_that_does_not_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    path = tmp_path / "interval.yaml"
    path.write_text(f"interval: {{node: {{state_dir: {tmp_path / 'state'}}}}}\n", encoding="utf-8")
    assert main(["studies", "list", "--config", str(path)]) == 3
    assert "neither DATABASE_URL nor a running node" in capsys.readouterr().err
