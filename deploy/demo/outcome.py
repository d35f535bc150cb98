"""What came of it: PACS, RIS and API are asked, files are saved, and the values to print leave."""

import subprocess
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, Comprehensive3DSRStorage, EncapsulatedPDFStorage

from tests.support.house import House
from tests.support.peers import RisMessage
from tests.support.peers.programs import find

_PAGE_DPI = "110"


@dataclass(frozen=True, slots=True, kw_only=True)
class PacsRow:
    """One object of the study as it lies in the PACS."""

    series_number: str
    modality: str
    sop_class: str
    description: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One message as the RIS got it."""

    control_id: str
    answer: str
    result_status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Where the documents were saved; `page` is None where pdftoppm is missing."""

    sr: Path
    pdf: Path
    oru: Path
    page: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything the demo prints. `detail` is what the API says of the study."""

    study_uid: str
    page_url: str
    token: str
    in_pacs: tuple[PacsRow, ...]
    at_ris: tuple[Told, ...]
    detail: dict[str, Any]
    saved: Saved | None
    faults: tuple[str, ...]


def collect(house: House, study_uid: str, evidence: tuple[str, ...], out: Path) -> Outcome:
    """Return what the study came to. `evidence`: SOP Instance UIDs that the report must name, current and prior."""
    objects = [
        (pydicom.dcmread(BytesIO(content)), len(content))
        for content in (house.pacs.archive.download(one) for one in house.pacs.archive.instances(study_uid))
    ]
    report = _only([ds for ds, _ in objects if ds.SOPClassUID == Comprehensive3DSRStorage])
    companion = _only([ds for ds, _ in objects if ds.SOPClassUID == EncapsulatedPDFStorage])
    messages = [message for message in house.ris.messages if study_uid in message.text]
    complete = report is not None and companion is not None and bool(messages)
    return Outcome(
        study_uid=study_uid,
        page_url=f"{house.node.url}/studies/{study_uid}",
        token=house.node.token,
        in_pacs=tuple(sorted((_row(ds, size) for ds, size in objects), key=lambda row: int(row.series_number or 0))),
        at_ris=tuple(_told(message) for message in messages),
        detail=house.node.get(f"/api/v1/studies/{study_uid}"),
        saved=_save(report, companion, messages[-1], out) if complete and report and companion else None,
        faults=(*_faults(report, evidence), *_missing(companion, messages)),
    )


def _only(found: list[Dataset]) -> Dataset | None:
    return found[0] if len(found) == 1 else None


def _faults(report: Dataset | None, evidence: tuple[str, ...]) -> list[str]:
    if report is None:
        return ["The PACS does not hold exactly one structured report for the study."]
    text = str(report)
    faults = [f"The report does not name the image {uid}." for uid in evidence if uid not in text]
    if (report.CompletionFlag, report.VerificationFlag) != ("PARTIAL", "UNVERIFIED"):
        faults.append("The report does not say that it is a draft.")
    return faults


def _missing(companion: Dataset | None, messages: list[RisMessage]) -> list[str]:
    faults = [] if companion is not None else ["The PACS does not hold exactly one PDF for the study."]
    if [message.answer for message in messages] != ["AA"]:
        faults.append("The RIS did not get and accept exactly one message for the study.")
    return faults


def _row(ds: Dataset, size_bytes: int) -> PacsRow:
    return PacsRow(
        series_number=str(ds.get("SeriesNumber", "") or ""),
        modality=str(ds.get("Modality", "")),
        sop_class=UID(ds.SOPClassUID).name,
        description=str(ds.get("SeriesDescription", "") or ""),
        size_bytes=size_bytes,
    )


def _told(message: RisMessage) -> Told:
    request = message.parsed.segment("OBR")
    return Told(control_id=message.control_id, answer=message.answer, result_status=str(request[25]))


def _save(report: Dataset, companion: Dataset, message: RisMessage, out: Path) -> Saved:
    sr, pdf, oru = out / "draft-sr.dcm", out / "draft.pdf", out / "oru.hl7"
    report.save_as(sr, enforce_file_format=True)
    pdf.write_bytes(companion.EncapsulatedDocument[: companion.get("EncapsulatedDocumentLength")])
    oru.write_bytes(message.raw)
    return Saved(sr=sr, pdf=pdf, oru=oru, page=_first_page(pdf, out / "draft-page-1"))


def _first_page(pdf: Path, stem: Path) -> Path | None:
    program = find("pdftoppm")
    if program is None:
        return None
    options = ["-png", "-r", _PAGE_DPI, "-f", "1", "-l", "1", "-singlefile"]
    subprocess.run([program, *options, str(pdf), str(stem)], check=True, capture_output=True, timeout=60)
    return stem.with_suffix(".png")
