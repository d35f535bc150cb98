"""What is sent during a run: seeded plans of studies, each of another patient and with a prior for the PACS."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.support.objects import as_bytes, dx_from_image, save, seeded_uid

FILMS = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "films"
_PRIOR_DATE, _CURRENT_DATE = "20240103", "20240301"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """One study. `images` are sent `at_s` after the start, `late` ones `late_after_s` after the others are stored."""

    study_uid: str
    patient_id: str
    prior: bytes
    images: tuple[Path, ...]
    late: tuple[Path, ...]
    at_s: float
    late_after_s: float

    @property
    def image_count(self) -> int:
        """How many images the node is to have in the end."""
        return len(self.images) + len(self.late)


def seeded(seed: int | str) -> Random:
    """Return what draws: the same for the same seed, since a run must be repeatable."""
    return Random(seed)  # noqa: S311 - nothing is kept secret here


def plan_studies(count: int, folder: Path, random: Random, *, within_s: float, name: str = "chaos") -> list[StudyPlan]:
    """Write the objects of `count` studies to `folder`; every third has several images, every other one a late image.

    The first study is sent at the beginning, the last before three quarters of `within_s` have passed. Studies of
    another `name` are of other patients.
    """
    folder.mkdir(parents=True, exist_ok=True)
    films = _films()
    plans = (_plan(f"{name}-{number:04}", number, films, folder, random) for number in range(count))
    return [replace(plan, at_s=0.75 * within_s * number / count) for number, plan in enumerate(plans)]


def _plan(seed: str, number: int, films: Sequence[Path], folder: Path, random: Random) -> StudyPlan:
    whole = 1 + (random.choice((1, 2)) if number % 3 == 1 else 0)
    late = 1 if number % 2 == 1 else 0
    patient = {"PatientID": seed.upper(), "PatientName": f"{seed}^Planned"}
    prior = dx_from_image(_film(films, number + 3, random), seed=f"{seed}-prior", StudyDate=_PRIOR_DATE, **patient)
    paths = []
    for image in range(whole + late):
        attributes: dict[str, Any] = {
            "StudyInstanceUID": seeded_uid(seed, "study"),
            "SeriesInstanceUID": seeded_uid(seed, f"series-{image}"),
            "SOPInstanceUID": seeded_uid(seed, f"image-{image}"),
            "SeriesNumber": str(image + 1),
            "StudyDate": _CURRENT_DATE,
            "AccessionNumber": f"A{seed}".upper()[:16],
            **patient,
        }
        ds = dx_from_image(_film(films, number, random), seed=f"{seed}-{image}", **attributes)
        paths.append(save(ds, folder / f"{seed}-{image}.dcm"))
    return StudyPlan(
        study_uid=str(seeded_uid(seed, "study")),
        patient_id=patient["PatientID"],
        prior=as_bytes(prior),
        images=tuple(paths[:whole]),
        late=tuple(paths[whole:]),
        at_s=0.0,
        late_after_s=random.uniform(1.0, 12.0),
    )


def _films() -> list[Path]:
    with (FILMS / "films.csv").open(encoding="utf-8", newline="") as file:
        return [FILMS / row["file"] for row in csv.DictReader(file)]


def _film(films: Sequence[Path], number: int, random: Random) -> npt.NDArray[np.uint8]:
    """Return a film with a little noise of its own, so that no two objects have the same pixels."""
    pixels = np.asarray(Image.open(films[number % len(films)]).convert("L"), dtype=np.int16)
    noise = np.random.default_rng(random.randrange(2**32)).integers(-2, 3, pixels.shape, dtype=np.int16)
    noisy: npt.NDArray[np.uint8] = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return noisy
