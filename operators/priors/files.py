"""Fetched priors on local disk: an image that was asked for enters, its header and file leave.

    <spool>/priors/<study UID>/<instance UID>.dcm

A file is there whole or not at all, so what is there is not fetched again, by whichever job.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from operators.domain.headers import read_header
from operators.domain.ids import Revision
from operators.domain.messages import Image, Study
from operators.priors.candidates import WantedImage

FOLDER = "priors"


class UnreadableFileError(ValueError):
    """The file is no DICOM object, or another one than was asked for."""


class PriorFiles:
    """The folder of fetched priors below the spool."""

    def __init__(self, spool_dir: Path) -> None:
        self._root = spool_dir / FOLDER

    def path_of(self, image: WantedImage) -> Path:
        """Return where the image's file is, or will be."""
        return self._root / image.study_uid / f"{image.instance_uid}.dcm"

    def open(self, image: WantedImage) -> Image:
        """Read the header of a file that is there, and mark it as used.

        Raises UnreadableFileError for what is not the object asked for; the file is removed then.
        """
        path = self.path_of(image)
        try:
            ds = dcmread(path, stop_before_pixels=True)
            header = read_header(ds, transfer_syntax_uid=str(ds.file_meta.get("TransferSyntaxUID", "")))
        except (InvalidDicomError, FileNotFoundError, EOFError, ValueError, NotImplementedError, KeyError) as exc:
            path.unlink(missing_ok=True)
            raise UnreadableFileError(type(exc).__name__) from exc
        if (header.study_uid, header.instance_uid) != (image.study_uid, image.instance_uid):
            path.unlink(missing_ok=True)
            raise UnreadableFileError("another object than was asked for")
        os.utime(path)
        return Image(header=header, path=path)

    def purge(self, unused_since: datetime) -> int:
        """Remove files that were not used since that moment, unfinished ones included; return how many."""
        removed = 0
        for path in self._root.glob("*/*"):
            try:
                if path.stat().st_mtime < unused_since.timestamp():
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue
        for folder in self._root.glob("*/"):
            _remove_if_empty(folder)
        return removed


def study_of(images: Sequence[Image]) -> Study:
    """Return the study that a prior's images make up; study facts are those of its first image."""
    ordered = tuple(sorted(images, key=_order))
    first = ordered[0].header
    headers = [image.header for image in ordered]
    return Study(
        study_uid=first.study_uid,
        revision=Revision(1),
        patient=first.patient,
        accession_number=first.accession_number,
        study_id=first.study_id,
        study_date=first.study_date,
        study_time=first.study_time,
        study_description=first.study_description,
        referring_physician=first.referring_physician,
        requested_procedure=first.requested_procedure,
        modalities=tuple(sorted({header.modality for header in headers if header.modality})),
        body_parts=tuple(sorted({header.body_part for header in headers if header.body_part})),
        images=ordered,
    )


def _order(image: Image) -> tuple[int, int, str]:
    return image.header.series_number or 0, image.header.instance_number or 0, image.header.instance_uid


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
