"""The whole wire, played once for all tests of it: studies go in by dcmtk, what came of them is asked for by name.

One PACS and one RIS; a node that delivers, and beside it one in shadow mode that has no PACS to ask.
"""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import psycopg
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from app.postgres import current_url
from deploy.demo.films import FOLDER
from tests.support.house import ENDED, House, Node
from tests.support.objects import absurd_size, dx_from_image, save
from tests.support.peers import RisMessage, dcmsend, require, storescu
from tests.support.peers.process import wait_until
from tests.support.transcoding import transcoded

PROGRAMS = ("Orthanc", "libOrthancDicomWeb.so", "dcmsend", "storescu", "dcmcjpeg", "dcmcjpls", "dcmcrle", "dcmconv")
GREEK = "Παπαδόπουλος^Γιώργος"
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
DIACRITICS = "Šťastný-Łukasiewicz^Žofie"
SYNTAXES = (
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
# What storescu proposes for a syntax; dcmsend proposes that of the file, except that it sends big endian as little.
PROPOSAL = {
    JPEGLosslessSV1: "-xs", JPEGLSLossless: "-xt", JPEG2000Lossless: "-xv", RLELossless: "-xr",
    DeflatedExplicitVRLittleEndian: "-xd", ExplicitVRBigEndian: "-xb",
}  # fmt: skip
ABSURD = ("absurd", "absurd-api", "absurd-page", "absurd-cli")
_PRIOR_DAY, _CURRENT_DAY = "20240101", "20240122"
_SENDERS = 4
_LONGEST_S = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One patient's follow-up film, with or without a prior film in the PACS. () of `charsets` is Unicode."""

    name: str
    patient_name: str = "Test^Patient"
    has_prior: bool = True
    charsets: tuple[str, ...] = ()
    syntax: UID = ExplicitVRLittleEndian

    @property
    def patient_id(self) -> str:
        """The patient's number."""
        return f"WIRE-{self.name}"

    def film(self, picture: npt.NDArray[Any], part: str, **attributes: Any) -> FileDataset:
        """Return a film of the patient; `part` tells the patient's studies apart."""
        day = _PRIOR_DAY if part == "prior" else _CURRENT_DAY
        days = dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), day)
        said: dict[str, Any] = {
            "PatientID": self.patient_id,
            "PatientName": self.patient_name,
            "ViewPosition": "AP",
            **days,
        }
        if self.charsets:
            said["SpecificCharacterSet"] = list(self.charsets)
        return dx_from_image(picture, seed=f"wire {self.name} {part}", **said, **attributes)


CASES = (
    Case(name="greek", patient_name=GREEK),
    Case(name="japanese", patient_name=JAPANESE, charsets=("", "ISO 2022 IR 87")),
    Case(name="first", patient_name=DIACRITICS, has_prior=False, charsets=("ISO_IR 101",)),
    Case(name="late", has_prior=False),
    *(Case(name=syntax.keyword, syntax=syntax) for syntax in SYNTAXES),
)


@cache
def picture(file: str) -> npt.NDArray[np.uint8]:
    """Return the pixels of a real film."""
    return np.asarray(Image.open(FOLDER / file).convert("L"))


def current_picture() -> npt.NDArray[np.uint8]:
    """Return the film that is sent."""
    return picture("3161e216.jpg")


class Wire:
    """What the tests look into. Studies are named as in CASES and ABSURD, and "short" for the one with cut pixels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.house = House(folder)
        self.shadow = Node(
            folder / "shadow",
            {
                "deliver": "off",
                "pacs": {"stow": [{"name": "pacs", "url": self.house.pacs.dicom_web_url}]},
                "notify": {"destinations": [{"name": "ris", "host": "127.0.0.1", "port": self.house.ris.port}]},
            },
        )
        self.sent: dict[str, Path] = {}
        self.priors: dict[str, Path] = {}

    @property
    def node(self) -> Node:
        """The node that delivers."""
        return self.house.node

    def start(self) -> None:
        """Start PACS, RIS and both nodes."""
        peers = (self.house.pacs, self.house.ris, self.house.node, self.shadow)
        with ThreadPoolExecutor(len(peers)) as starters:
            for started in [starters.submit(peer.start) for peer in peers]:
                started.result()

    def stop(self) -> None:
        """Stop everything."""
        self.shadow.stop()
        self.house.__exit__()

    def play(self) -> None:
        """Send everything and wait until the nodes have nothing left to do."""
        for case in CASES:
            self._prepare(case)
        self._prepare_bad()
        with ThreadPoolExecutor(_SENDERS) as senders:
            sendings = [senders.submit(send, [path], self.node) for path in self.sent.values()]
            sendings.append(senders.submit(send, [self.sent["first"]], self.shadow))
            for sending in sendings:
                sending.result()
        self.wait_for_end(self.node, self.sent)
        self._send_late_image()
        self.wait_for_end(self.shadow, ["first"])

    def wait_for_end(self, node: Node, names: Collection[str]) -> None:
        """Wait until the named studies have come to an end. Raises TimeoutError naming those that have not."""
        wanted = {self.uid(name): name for name in names}

        def waiting() -> list[str]:
            states = node.states()
            return [name for uid, name in wanted.items() if states.get(uid) not in ENDED]

        if not wait_until(lambda: not waiting(), _LONGEST_S):
            raise TimeoutError(f"no end for {waiting()}: {node.states()}")

    def uid(self, name: str) -> str:
        """Return the Study Instance UID."""
        return study_uid(self.sent[name])

    def detail(self, name: str, node: Node | None = None) -> dict[str, Any]:
        """Return what the API says of a study."""
        found: dict[str, Any] = (node or self.node).get(f"/api/v1/studies/{self.uid(name)}")
        return found

    def in_pacs(self, name: str, modality: str) -> list[Dataset]:
        """Return the objects of that modality that the PACS has in the study of the current film, oldest first."""
        archive = self.house.pacs.archive
        found = [one for one in archive.instances(self.uid(name)) if one.modality == modality]
        objects = [pydicom.dcmread(BytesIO(archive.download(one))) for one in found]
        return sorted(objects, key=lambda ds: (str(ds.ContentDate), str(ds.ContentTime), str(ds.SOPInstanceUID)))

    def at_ris(self, name: str) -> list[RisMessage]:
        """Return the messages about a study."""
        return [message for message in self.house.ris.messages if self.uid(name) in message.text]

    def question(self, query: str) -> list[tuple[Any, ...]]:
        """Return what the delivering node's database answers."""
        url = current_url(self.node.state_dir / "postgres")
        assert url is not None
        with psycopg.connect(url) as connection:
            return connection.execute(query).fetchall()

    def last_job(self) -> int:
        """Return the number of the last job that was ever made."""
        return int(self.question("SELECT last_value FROM procrastinate_jobs_id_seq")[0][0])

    def wait_for_jobs_after(self, last: int) -> None:
        """Wait until a job has been made after the one with that number. Raises TimeoutError."""
        if not wait_until(lambda: self.last_job() > last, _LONGEST_S):
            raise TimeoutError("no new job")

    def ask(self, path: str, **headers: str) -> httpx.Response:
        """Ask the delivering node's pages, without a token unless `headers` have one."""
        return httpx.get(self.node.url + path, headers=headers, timeout=30.0, trust_env=False)

    def _prepare(self, case: Case) -> None:
        current = save(case.film(current_picture(), "current"), self.folder / f"{case.name}.dcm")
        if case.syntax != ExplicitVRLittleEndian:
            current = transcoded(current, case.syntax, self.folder)
        self.sent[case.name] = current
        if case.has_prior:
            prior = save(case.film(picture("bb4c4038.jpg"), "prior"), self.folder / f"{case.name}_prior.dcm")
            self.house.pacs.archive.upload(prior.read_bytes())
            self.priors[case.name] = prior

    def _prepare_bad(self) -> None:
        for name in ABSURD:
            ds = absurd_size(seed=f"wire {name}", PatientID=f"WIRE-{name}")
            self.sent[name] = save(ds, self.folder / f"{name}.dcm")
        short = Case(name="short").film(current_picture(), "current")
        short.PixelData = short.PixelData[: len(short.PixelData) // 4 * 2]
        self.sent["short"] = save(short, self.folder / "short.dcm")

    def _send_late_image(self) -> None:
        late = next(case for case in CASES if case.name == "late")
        first = pydicom.dcmread(self.sent["late"], stop_before_pixels=True)
        told = {"StudyInstanceUID": first.StudyInstanceUID, "AccessionNumber": first.AccessionNumber}
        second = late.film(current_picture(), "late", **told, SeriesNumber="2")
        send([save(second, self.folder / "late_second.dcm")], self.node)
        if not wait_until(lambda: self.detail("late")["study"]["revision"] == 2, _LONGEST_S):
            raise TimeoutError("the late image opened no second revision")
        self.wait_for_end(self.node, ["late"])


def require_programs() -> None:
    """Skip where a program is missing."""
    require(*PROGRAMS)


def send(paths: Sequence[Path], node: Node) -> None:
    """Send files of one transfer syntax as they are. Raises ConnectionError unless each was answered with success."""
    syntax = pydicom.dcmread(paths[0], stop_before_pixels=True).file_meta.TransferSyntaxUID
    proposed = PROPOSAL.get(syntax)
    outcome = storescu(paths, node.peer, options=[proposed]) if proposed else dcmsend(paths, node.peer)
    if not outcome.all_stored:
        raise ConnectionError(f"C-STORE went wrong: {outcome.text[-2000:]}")


def study_uid(path: Path) -> str:
    """Return the Study Instance UID of a file."""
    return str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
