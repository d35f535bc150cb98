"""A house with a node that reads all four families: CT, MR and ultrasound go in by C-STORE, priors lie in the PACS.

The bundle is tests/fixtures/bundles/tiny: real graphs, random weights. Phantoms stand in for patients.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from tests.support.house import ENDED, House
from tests.support.objects import save
from tests.support.peers import RisMessage, dcmsend
from tests.support.peers.process import wait_until
from tests.support.tiny import install_tiny
from tests.support.volumes import BoxPhantom, Grid, ct_series, mr_series, us_image

_LONGEST_S = 240.0
_SLICES = 240
CT_GRID = Grid(slices=_SLICES, step_mm=1.5, rows=128, columns=128, spacing_mm=(2.6, 2.6))
SMALL_GRID = Grid(slices=24, step_mm=5.0, rows=64, columns=64, spacing_mm=(5.0, 5.0))
MR_GRID = Grid(slices=30, step_mm=5.0, rows=96, columns=96, spacing_mm=(2.4, 2.4))
_MIXED = (*np.arange(-60, 0, 5.0).tolist(), *np.arange(0, 60, 8.0).tolist())

Objects = list[FileDataset]
Make = Callable[[str, str], Objects]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeCase:
    """One patient's study: `make` takes a seed and a name of the part and gives its objects.

    `parked` is the reason code it is parked with; None: it is drafted. `order` shuffles what is sent.
    """

    name: str
    family: str
    make: Make
    has_prior: bool = False
    parked: str | None = None
    is_shuffled: bool = False


def ct(seed: str, part: str, *, grid: Grid = SMALL_GRID, **attributes: Any) -> Objects:
    """Return a CT of a box that grows from the prior to the current study."""
    size = (60.0, 40.0, 50.0) if part == "prior" else (90.0, 60.0, 70.0)
    return ct_series(BoxPhantom(size_mm=size), grid, seed=f"{seed} {part}", **attributes)


def mr(seed: str, part: str, *, grid: Grid = MR_GRID, **attributes: Any) -> Objects:
    """Return a brain MR."""
    size = (60.0, 40.0, 50.0) if part == "prior" else (90.0, 60.0, 70.0)
    phantom = BoxPhantom(size_mm=size, inside=900.0, outside=0.0)
    return mr_series(phantom, grid, seed=f"{seed} {part}", **attributes)


def us(seed: str, part: str, *, shape: tuple[int, ...] = (120, 160)) -> Objects:
    """Return one ultrasound image or clip, grey or in colour."""
    rng = np.random.default_rng(len(part))
    frames = rng.integers(0, 255, shape, dtype=np.uint8)
    colour = {"UltrasoundColorDataPresent": 1} if shape[-1] == 3 else {}
    return [us_image(frames, seed=f"{seed} {part}", **colour)]


def doubled(seed: str, part: str) -> Objects:
    """Return a CT some of whose slices come twice, under other UIDs."""
    again = ct(seed, part)[4:8]
    for number, ds in enumerate(again):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{ds.SOPInstanceUID[:50]}.{number}")
    return [*ct(seed, part), *again]


def of_grid(grid: Grid) -> Make:
    """Return what makes a CT on another grid."""
    return lambda seed, part: ct(seed, part, grid=grid)


CASES = (
    VolumeCase(name="ct-240", family="3D-CT", make=of_grid(CT_GRID), has_prior=True, is_shuffled=True),
    VolumeCase(name="ct-doubled", family="3D-CT", make=doubled),
    VolumeCase(name="ct-one-missing", family="3D-CT", make=of_grid(SMALL_GRID.without(9))),
    VolumeCase(name="ct-tilted", family="3D-CT", make=of_grid(replace(SMALL_GRID, tilt_deg=15.0))),
    VolumeCase(name="ct-mixed", family="3D-CT", make=of_grid(replace(SMALL_GRID, places_mm=_MIXED))),
    VolumeCase(name="ct-gap", family="3D-CT", make=of_grid(SMALL_GRID.without(*range(8, 14))), parked="slices-missing"),
    VolumeCase(
        name="ct-sheared", family="3D-CT", make=of_grid(replace(SMALL_GRID, tilt_deg=50.0)), parked="slices-tilted"
    ),
    VolumeCase(name="mr", family="3D-Brain-MRI", make=mr, has_prior=True),
    VolumeCase(name="us-grey", family="2D-Ultrasound", make=us, has_prior=True),
    VolumeCase(
        name="us-colour-clip", family="2D-Ultrasound", make=lambda seed, part: us(seed, part, shape=(5, 90, 120, 3))
    ),
)
CASE = {case.name: case for case in CASES}


class VolumeWire:
    """What the tests look into, by the names of CASES."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.house = House(folder, {"encode": {"bundle": "tiny", "threads": 1}})
        self.sent: dict[str, list[Path]] = {}
        self.priors: dict[str, list[Path]] = {}

    def start(self) -> None:
        """Install the bundle, start PACS, RIS and node."""
        install_tiny(self.house.node.state_dir)
        self.house.__enter__()

    def stop(self) -> None:
        """Stop everything."""
        self.house.__exit__()

    def play(self) -> None:
        """Put the priors into the PACS, send the studies, and wait until each has come to an end."""
        for case in CASES:
            self._prepare(case)
        with ThreadPoolExecutor(2) as senders:
            for sending in [senders.submit(self._send, case) for case in CASES]:
                sending.result()
        if not wait_until(lambda: not self.waiting(), _LONGEST_S):
            raise TimeoutError(f"no end for {self.waiting()}: {self.house.node.states()}")

    def waiting(self) -> list[str]:
        """Names of the studies that have not come to an end."""
        states = self.house.node.states()
        return [name for name in self.sent if states.get(self.uid(name)) not in ENDED]

    def uid(self, name: str) -> str:
        """Return the Study Instance UID of the study that was sent."""
        return str(self.header(name).StudyInstanceUID)

    def header(self, name: str) -> Dataset:
        """Return the header of the first object that was sent."""
        return pydicom.dcmread(self.sent[name][0], stop_before_pixels=True)

    def detail(self, name: str) -> dict[str, Any]:
        """Return what the API says of a study."""
        found: dict[str, Any] = self.house.node.get(f"/api/v1/studies/{self.uid(name)}")
        return found

    def in_pacs(self, name: str, modality: str) -> Dataset:
        """Return the one object of that modality that the PACS has in the study."""
        archive = self.house.pacs.archive
        (found,) = [one for one in archive.instances(self.uid(name)) if one.modality == modality]
        return pydicom.dcmread(BytesIO(archive.download(found)))

    def of_case(self, name: str) -> list[Path]:
        """Return the files of the patient: sent, and in the PACS before."""
        return [*self.sent[name], *self.priors.get(name, [])]

    def at_ris(self, name: str) -> list[RisMessage]:
        """Return the messages about a study."""
        return [message for message in self.house.ris.messages if self.uid(name) in message.text]

    def _prepare(self, case: VolumeCase) -> None:
        self.sent[case.name] = self._written(case, "current", "20240122")
        if case.has_prior:
            self.priors[case.name] = self._written(case, "prior", "20240101")
            for path in self.priors[case.name]:
                self.house.pacs.archive.upload(path.read_bytes())

    def _written(self, case: VolumeCase, part: str, day: str) -> list[Path]:
        folder = self.folder / "objects" / f"{case.name} {part}"
        folder.mkdir(parents=True)
        objects = case.make(case.name, part)
        for ds in objects:
            ds.PatientID, ds.PatientName = f"VOLUME-{case.name}", "Phantom^Box"
            ds.AccessionNumber = f"V-{case.name}"[:16]
            ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
        return [save(ds, folder / f"{number:04d}.dcm") for number, ds in enumerate(objects)]

    def _send(self, case: VolumeCase) -> None:
        paths = self.sent[case.name]
        if case.is_shuffled:
            paths = [paths[k] for k in np.random.default_rng(4).permutation(len(paths))]
        outcome = dcmsend(paths, self.house.node.peer)
        if not outcome.all_stored:
            raise ConnectionError(f"C-STORE of {case.name} went wrong: {outcome.text[-2000:]}")


def instance_uid(path: Path) -> str:
    """Return the SOP Instance UID of a file."""
    return str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
