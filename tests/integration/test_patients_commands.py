"""`patients merge | unmerge | show` on a real database: what they print, and their exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import main
from operators.domain.database import Pool
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.index import PgVectorIndex
from tests.support.adt import adt, send
from tests.support.embeddings import query
from tests.support.ris_listener import listening
from tests.unit.retrieve.cases import BUNDLE, a_row, unit_vectors

pytestmark = pytest.mark.peer


class Commands:
    """Runs `patients ...` and tells what came of it."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = main(["patients", *arguments, "--config", str(self._config)])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def json(self, *arguments: str) -> Any:
        code, out, _ = self(*arguments, "--json")
        assert code == 0
        return json.loads(out)


@pytest.fixture
def patients(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    monkeypatch.setattr("app.logs.configure", lambda level: None)
    monkeypatch.setenv("DATABASE_URL", database_url)
    config = tmp_path / "interval.yaml"
    config.write_text("interval: {}\n", encoding="utf-8")
    return Commands(config, capsys)


def in_force(pool: Pool) -> dict[str, str]:
    rows = query(pool, "SELECT former_key, current_key FROM patient_merges")
    return {row["former_key"].replace("\x1f", ":"): row["current_key"].replace("\x1f", ":") for row in rows}


def test_a_merge_is_made_shown_and_undone(pool: Pool, patients: Commands) -> None:
    index = PgVectorIndex(pool, RetrieveConfig())
    index.store(BUNDLE, [a_row(1, unit_vectors(1, 1)[0], patient_key="HOSP\x1fA1")])
    issuers = ["--issuer-old", "HOSP", "--issuer-new", "HOSP"]
    former, current = {"patient_id": "A1", "issuer": "HOSP"}, {"patient_id": "A2", "issuer": "HOSP"}
    merged = {"former": former, "current": current, "rows_moved": 1}

    assert patients.json("merge", "A1", "A2", *issuers) == {"done": "merge", **merged}
    assert patients.json("merge", "A1", "A2", *issuers) == {"done": "already", **merged, "rows_moved": 0}
    shown = patients.json("show", "A2", "--issuer", "HOSP")
    assert (shown["current"], shown["merged"], shown["studies"], shown["images"]) == (
        current,
        [[former, current]],
        0,
        1,
    )
    assert patients.json("unmerge", "A1", "--issuer", "HOSP")["current"] == former
    shown = patients.json("show", "A1", "--issuer", "HOSP")
    assert (shown["current"], shown["merged"]) == (former, [])
    assert [event["deed"] for event in shown["events"]] == ["merge", "unmerge"]
    assert {event["source"] for event in shown["events"]} == {"command"}
    assert all(event["who"] for event in shown["events"])


def test_what_the_ris_merged_is_shown_with_its_message_and_undone_by_hand(pool: Pool, patients: Commands) -> None:
    with listening(pool) as listener:
        send(listener.port, adt(("B^^^H", "A^^^H"), ("C^^^H", "B^^^H"), control_id="M77"))
    code, out, _ = patients("show", "A", "--issuer", "H")
    assert code == 0
    assert out.splitlines()[:3] == [
        "A (H): now C (H), 0 studies, 0 images indexed",
        "  A (H) went into B (H)",
        "  B (H) went into C (H)",
    ]
    assert out.count("by hl7 RIS|MAIN ADT^A40 M77") == 2
    assert patients("unmerge", "B", "--issuer", "H")[0] == 0
    assert in_force(pool) == {"H:A": "H:B"}


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["merge", "B", "A"], "was itself merged into"),
        (["merge", "A", "X"], "merged into another patient's"),
        (["merge", "A", "A"], "one and the same"),
        (["merge", " ", "A"], "knows this identifier"),
        (["unmerge", "B"], "was not merged"),
        (["show", "NOBODY"], "knows this identifier"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence_without_identifiers(
    pool: Pool, patients: Commands, command: list[str], sentence: str
) -> None:
    patients("merge", "A", "B")
    code, out, err = patients(*command)
    assert (code, out) == (4, "")
    assert sentence in err
    assert "NOBODY" not in err
    assert in_force(pool) == {":A": ":B"}


def test_identifiers_of_the_local_issuer_are_merged_and_undone_with_it_and_without(
    pool: Pool, patients: Commands, tmp_path: Path
) -> None:
    (tmp_path / "interval.yaml").write_text("interval: {patients: {local_issuer: H}}\n", encoding="utf-8")
    patients("merge", "A", "B")
    assert in_force(pool) == {"H:A": "H:B", ":A": ":B"}
    patients("unmerge", "A", "--issuer", "H")
    assert in_force(pool) == {}


@pytest.mark.parametrize("command", [[], ["merge", "A"], ["unmerge"], ["split", "A"]])
def test_a_wrong_usage_is_told(patients: Commands, command: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        patients(*command)
    assert ended.value.code == 2
