"""The films that ship with the demo: films.csv and today's moment in, valid DX objects of seven invented patients out.

The pictures are real (see films/ATTRIBUTION.md); names, numbers, dates and descriptions are invented.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from PIL import Image
from pydicom.dataset import Dataset, FileDataset

from tests.support.objects import dx_from_image, save

FOLDER = Path(__file__).resolve().parent / "films"
ATTRIBUTION = (
    "Winther et al., COVID-19 Image Repository, Hannover Medical School, CC BY 3.0 (deploy/demo/films/ATTRIBUTION.md)"
)

_DETECTOR_LONG_SIDE_MM = 430.0
_STUDY_DESCRIPTIONS = {"AP": "Chest AP bedside", "PA": "Chest PA"}
_SERIES_DESCRIPTIONS = {"AP": "AP supine", "PA": "PA erect"}


class Role(StrEnum):
    """What a film is for: the follow-up that is sent, the prior it is compared with, or another patient's film."""

    CURRENT = "current"
    PRIOR = "prior"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One row of films.csv; `name` is a DICOM PN, `offset_days` counts from the day of the demo."""

    file: str
    patient_id: str
    name: str
    sex: str
    birth_date: str
    offset_days: int
    view: str
    role: Role

    def taken_at(self, now: datetime) -> datetime:
        """Return when the film was taken, seen from `now`."""
        return now + timedelta(days=self.offset_days)


def films() -> tuple[Film, ...]:
    """Return the films that ship, in the order of films.csv."""
    with (FOLDER / "films.csv").open(encoding="utf-8", newline="") as table:
        return tuple(_film(row) for row in csv.DictReader(table))


def write_objects(chosen: Iterable[Film], folder: Path, now: datetime) -> dict[Film, Path]:
    """Write each film as a DICOM file into `folder`; `now` is an aware moment, the current film's."""
    folder.mkdir(parents=True, exist_ok=True)
    return {film: save(dx_object(film, now), folder / f"{Path(film.file).stem}.dcm") for film in chosen}


def dx_object(film: Film, now: datetime) -> FileDataset:
    """Return the film as Digital X-Ray Image Storage - For Presentation. The same moment gives the same UIDs."""
    path = FOLDER / film.file
    taken = film.taken_at(now)
    number = f"{taken:%y%m%d}{film.patient_id[-4:]}"
    spacing = _spacing_mm(path)
    description = _STUDY_DESCRIPTIONS[film.view]
    moment = _moment(taken)
    return dx_from_image(
        path,
        seed=f"interval demo {film.file} {taken.isoformat(timespec='seconds')}",
        PatientID=film.patient_id,
        IssuerOfPatientID="INTERVAL-DEMO",
        PatientName=film.name,
        PatientSex=film.sex,
        PatientBirthDate=film.birth_date,
        InstitutionName="Interval demonstration",
        Manufacturer="Interval",
        ManufacturerModelName="Demo film wrapper",
        StudyID=number,
        AccessionNumber=f"A{number}",
        StudyDescription=description,
        SeriesDescription=_SERIES_DESCRIPTIONS[film.view],
        ProtocolName=description,
        RequestAttributesSequence=[_request(number, description)],
        ViewPosition=film.view,
        ImagerPixelSpacing=[spacing, spacing],
        PixelSpacing=[spacing, spacing],
        **moment,
    )


def _film(row: dict[str, str]) -> Film:
    return Film(
        file=row["file"],
        patient_id=row["patient_id"],
        name=row["patient_name"],
        sex=row["sex"],
        birth_date=row["birth_date"],
        offset_days=int(row["study_offset_days"]),
        view=row["view"],
        role=Role(row["role"]),
    )


def _moment(taken: datetime) -> dict[str, Any]:
    day, time = f"{taken:%Y%m%d}", f"{taken:%H%M%S}"
    dated = dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), day)
    timed = dict.fromkeys(("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"), time)
    return {**dated, **timed, "TimezoneOffsetFromUTC": f"{taken:%z}"}


def _spacing_mm(path: Path) -> str:
    """Return the distance of pixels, as if the film filled a detector of the usual size."""
    with Image.open(path) as picture:
        return f"{_DETECTOR_LONG_SIDE_MM / max(picture.size):.4f}"


def _request(number: str, description: str) -> Dataset:
    item = Dataset()
    item.RequestedProcedureID = f"R{number}"
    item.RequestedProcedureDescription = description
    item.ScheduledProcedureStepID = f"S{number}"
    item.ScheduledProcedureStepDescription = description
    return item
