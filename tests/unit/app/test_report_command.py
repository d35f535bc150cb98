"""`report parse` as a user meets it: lines, exit codes, and silence about the text."""

import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.cli.main import main

_TEXT = "FINDINGS: Small left pleural effusion, unchanged. No pneumothorax.\n"


def give(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(raw)))


def test_each_statement_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.txt"
    file.write_text(_TEXT, encoding="utf-8")
    assert main(["report", "parse", str(file)]) == 0
    effusion, pneumothorax = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    contract = {"entity", "site", "side", "presence", "change", "severity", "span"}
    assert contract <= set(effusion)
    assert effusion["entity"] == "Pleural effusion (including localized effusion) in Pleura"
    assert (effusion["side"], effusion["presence"], effusion["change"], effusion["severity"]) == (
        "left",
        "present",
        "stable",
        "mild",
    )
    assert _TEXT[slice(*effusion["span"])] == "pleural effusion"
    assert (pneumothorax["presence"], pneumothorax["change"], pneumothorax["side"]) == ("absent", "none", None)


@pytest.mark.parametrize("arguments", [["report", "parse"], ["report", "parse", "-"]])
def test_standard_input_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    give(monkeypatch, b"\xef\xbb\xbfCardiomegaly.")
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["finding"] == "cardiomegaly"


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "The input is empty."),
        (b" \n\t", "The input is empty."),
        (b"Effusion \xff", "byte 9 cannot be read"),
        (b"a" * (1 << 18) + b"b", "larger than 262144 bytes"),
    ],
)
def test_bad_input_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raw: bytes, sentence: str
) -> None:
    give(monkeypatch, raw)
    assert main(["report", "parse"]) == 4
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.out == ""


def test_a_missing_file_is_a_wrong_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "parse", str(tmp_path / "none.txt")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_text_is_never_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    give(monkeypatch, b"Zaphod Beeblebrox has cardiomegaly.\nMRN: 424242")
    with caplog.at_level(logging.DEBUG):
        assert main(["--log-level", "debug", "report", "parse"]) == 0
    told = capsys.readouterr()
    assert "cardiomegaly" in told.out
    assert all(secret not in caplog.text + told.err + told.out for secret in ("Zaphod", "424242"))
