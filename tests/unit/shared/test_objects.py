"""The objects that tests, demo and bench send are themselves clean DICOM, the same on every machine."""

import csv
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from models.shared.pixels import read_frame, read_image_file
from tests.support.objects import (
    as_bytes,
    basic_text_sr,
    ct_slice,
    dx_from_image,
    encapsulated_pdf,
    key_objects,
    presentation_state,
    save,
    seeded_uid,
)

FILMS = Path(__file__).parents[3] / "deploy" / "demo" / "films"
FILM8 = np.arange(256, dtype=np.uint8).reshape(16, 16)

MAKERS: dict[str, Callable[[], FileDataset]] = {
    "dx of a film": lambda: dx_from_image(FILMS / "3161e216.jpg", ViewPosition="AP"),
    "dx of eight bits": lambda: dx_from_image(FILM8),
    "dx of sixteen bits": lambda: dx_from_image(FILM8.astype(np.uint16) * 100),
    "ct": lambda: ct_slice(size_px=32),
    "sr": basic_text_sr,
    "ko": lambda: key_objects(dx_from_image(FILM8)),
    "pdf": encapsulated_pdf,
    "pr": lambda: presentation_state(dx_from_image(FILM8)),
}


@pytest.mark.peer
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_dciodvfy_finds_no_fault(make: Callable[[], FileDataset], tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    path = save(make(), tmp_path / "object.dcm")
    run = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False, timeout=60)
    lines = (run.stdout + run.stderr).splitlines()
    assert [line for line in lines if line.startswith(("Error", "Warning"))] == []
    assert len(lines) >= 1  # it names the object's kind


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_same_call_makes_the_same_bytes(make: Callable[[], FileDataset]) -> None:
    assert as_bytes(make()) == as_bytes(make())


def test_another_seed_makes_another_patient_study_and_instance() -> None:
    first, second = dx_from_image(FILM8, seed="a"), dx_from_image(FILM8, seed="b")
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber"):
        assert first[keyword].value != second[keyword].value


def test_slices_of_a_seed_share_a_series_and_differ_in_instance() -> None:
    first, second = (ct_slice(seed="a", instance_number=number, size_px=16) for number in (1, 2))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_a_full_slice_has_the_size_of_a_real_one() -> None:
    assert 0.5e6 < len(as_bytes(ct_slice())) < 0.6e6


def test_given_attributes_win_and_keep_the_file_meta_in_step() -> None:
    uid = seeded_uid("mine")
    ds = dx_from_image(FILM8, SOPInstanceUID=uid, PatientName="森山^春子", ViewPosition="AP")
    assert ds.file_meta.MediaStorageSOPInstanceUID == uid
    assert ds.ViewCodeSequence[0].CodeMeaning == "antero-posterior"


def test_a_misspelt_keyword_is_an_error() -> None:
    with pytest.raises(ValueError, match="PatientNmae"):
        dx_from_image(FILM8, PatientNmae="x")


def test_seeded_uids_are_valid_and_distinguish_their_parts() -> None:
    assert seeded_uid("a", "bc") != seeded_uid("ab", "c")
    assert all(seeded_uid("a", str(number)).is_valid for number in range(200))


def films() -> list[dict[str, str]]:
    with (FILMS / "films.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_demo_film_is_listed_attributed_and_small() -> None:
    attribution = (FILMS / "ATTRIBUTION.md").read_text(encoding="utf-8")
    listed = {row["file"] for row in films()}
    assert listed == {path.name for path in FILMS.glob("*.jpg")}
    assert all(f"`{name}`" in attribution for name in listed)
    assert "10.6084/m9.figshare.12275009" in attribution
    assert sum(path.stat().st_size for path in FILMS.iterdir()) < 1_000_000


def test_the_demo_has_one_patient_with_a_prior_and_an_archive_of_others() -> None:
    rows = films()
    by_role = {role: [row for row in rows if row["role"] == role] for role in ("prior", "current", "archive")}
    (prior,), (current,) = by_role["prior"], by_role["current"]
    assert prior["patient_id"] == current["patient_id"]
    assert int(prior["study_offset_days"]) < int(current["study_offset_days"]) == 0
    assert len(by_role["archive"]) == len({row["patient_id"] for row in by_role["archive"]}) == 6
    assert current["patient_id"] not in {row["patient_id"] for row in by_role["archive"]}


@pytest.mark.parametrize("row", films(), ids=lambda row: row["file"])
def test_demo_names_survive_the_file_and_the_film_its_wrapping(row: dict[str, str], tmp_path: Path) -> None:
    ds = dx_from_image(FILMS / row["file"], PatientName=row["patient_name"], ViewPosition=row["view"])
    back = pydicom.dcmread(save(ds, tmp_path / "film.dcm"))
    assert str(back.PatientName) == row["patient_name"]
    wrapped, film = read_frame(back), read_image_file(FILMS / row["file"])
    assert np.array_equal(wrapped.pixels, film.pixels)
    assert wrapped.content_box == film.content_box
