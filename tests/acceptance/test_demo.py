"""The demo: its films as DICOM objects, what it prints and leaves, and how it ends when something is missing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest

from deploy.demo.films import Role, films, write_objects
from deploy.demo.printing import table
from tests.support.judges import dciodvfy
from tests.support.peers import require
from tests.support.peers.process import wait_until

pytestmark = [pytest.mark.acceptance]

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


def command(out: Path) -> list[str]:
    return [sys.executable, "-m", "deploy.demo", "--out", str(out)]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}  # noqa: TID251 - a child's environment


def test_films_are_of_seven_patients_one_of_them_followed_up() -> None:
    roles = Counter(film.role for film in films())
    assert roles == {Role.CURRENT: 1, Role.PRIOR: 1, Role.ARCHIVE: 6}
    current, prior = (next(film for film in films() if film.role is role) for role in (Role.CURRENT, Role.PRIOR))
    assert (current.patient_id, current.name, current.view) == (prior.patient_id, prior.name, prior.view)
    assert prior.taken_at(NOW) < current.taken_at(NOW) == NOW
    assert len({film.patient_id for film in films()}) == 7


@pytest.mark.peer
def test_films_are_valid_objects_of_their_own_studies(tmp_path: Path) -> None:
    require("dciodvfy")
    paths = write_objects(films(), tmp_path, NOW)
    assert [dciodvfy(path) for path in paths.values()] == [[]] * len(paths)
    objects = [pydicom.dcmread(path) for path in paths.values()]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber"):
        assert len({ds.get(keyword) for ds in objects}) == len(objects)
    assert [str(ds.PatientName) for ds in objects] == [film.name for film in films()]


def test_same_moment_gives_the_same_objects(tmp_path: Path) -> None:
    one, other = (write_objects(films()[:1], tmp_path / name, NOW) for name in ("one", "other"))
    assert [path.read_bytes() for path in one.values()] == [path.read_bytes() for path in other.values()]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("a", "long"), [("wide", "b")]) == ["a     long", "----  ----", "wide  b"]


@pytest.mark.peer
def test_demo_ends_with_a_draft_that_names_current_and_prior(tmp_path: Path) -> None:
    require("Orthanc", "libOrthancDicomWeb.so", "dcmsend")
    done = subprocess.run(
        command(tmp_path / "out"),
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    label, _, result = done.stdout.splitlines()[-1].partition(" ")
    found = json.loads(result)
    assert (label, found["schema"], found["command"], found["ok"]) == ("INTERVAL_RESULT", 1, "demo", True)
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == found
    report = pydicom.dcmread(found["artifacts"]["sr"])
    assert report.StudyInstanceUID == found["artifacts"]["study_uid"]
    assert len(report.CurrentRequestedProcedureEvidenceSequence) == len(report.PertinentOtherEvidenceSequence) == 1
    assert Path(found["artifacts"]["pdf"]).read_bytes().startswith(b"%PDF-")
    assert Path(found["artifacts"]["oru"]).read_bytes().startswith(b"MSH|")
    assert found["artifacts"]["page_url"].endswith(found["artifacts"]["study_uid"])
    assert "answered with AA" in done.stdout
    assert "Pneumonia" in done.stdout
    assert str(ROOT) not in done.stdout + done.stderr


@pytest.mark.peer
def test_demo_that_is_ended_leaves_nothing_running(tmp_path: Path) -> None:
    require("Orthanc", "libOrthancDicomWeb.so", "dcmsend")
    with (tmp_path / "told").open("w") as told:
        demo = subprocess.Popen(command(tmp_path / "out"), stdout=told, stderr=told, cwd=tmp_path, env=environment())
        settings = tmp_path / "out" / "interval.yaml"
        assert wait_until(settings.exists, 60.0)
        time.sleep(1.0)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(timeout=150) == 128 + signal.SIGINT
    state = next(line.split()[-1] for line in settings.read_text().splitlines() if "state_dir" in line)
    folder = Path(state).parents[1]
    assert not folder.exists()
    assert not [line for line in command_lines() if str(folder) in line]


def command_lines() -> list[str]:
    """Return the command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_missing_program_is_named_in_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path / "out"),
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(PATH=str(tmp_path)),
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "dcmsend" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
