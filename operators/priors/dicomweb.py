"""A PACS with DICOMweb (PS3.18: QIDO-RS, WADO-RS) as the archive of priors.

Archives differ: some match IDs without case or do not decode what is percent-encoded, some ignore `includefield=all`,
a limit or an offset. So the attributes are named, every answer is checked again, and pages are read until one brings
nothing new.
"""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import requests
from dicomweb_client import DICOMwebClient

from operators.domain.errors import TransientError
from operators.domain.messages import InstanceHeader
from operators.domain.reasons import ReasonCode
from operators.priors.answers import (
    INSTANCE_FIELDS,
    SERIES_FIELDS,
    STUDY_FIELDS,
    Row,
    candidate_of,
    header_of,
    text_of,
    uid_of,
)
from operators.priors.archive import Answers
from operators.priors.candidates import Candidate, WantedImage
from operators.priors.config import PriorsConfig
from operators.priors.multipart import save_object
from operators.priors.pacs_session import open_session, pacs_errors

logger = logging.getLogger(__name__)

_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_ANY_SYNTAX = 'multipart/related; type="application/dicom"'
_NEEDS_ENCODING = re.compile(r"[^A-Za-z0-9._~-]+")
_MIN_PLAIN_CHARACTERS = 3
_SMALLEST_CAP = 50
"""A page shorter than the limit asked for is the last one, unless the archive caps pages; none caps below this."""

PART_SUFFIX = ".part"

Page = Callable[[int], list[Row]]


class DicomWebArchive:
    """Asks and fetches; see `Archive` for what it raises."""

    def __init__(self, config: PriorsConfig) -> None:
        """Raise ConfigError for a certificate file that is not there."""
        self._config = config
        self._url = config.url.rstrip("/")
        self._session = open_session(config)
        self._timeout_s = (config.connect_timeout_s, config.read_timeout_s)
        self._client = DICOMwebClient(
            self._url,
            session=self._session,
            qido_url_prefix=config.qido_path.strip("/") or None,
            wado_url_prefix=config.wado_path.strip("/") or None,
            permissive_uid=True,
            timeout=self._timeout_s,
        )
        self._client.set_http_retry_params(retry=False)

    def find_studies(self, patient_id: str) -> Answers:
        """Return the studies that the PACS names for a patient ID.

        An ID with characters that need percent-encoding is asked for a second time with a wildcard in their place when
        the first question brought no such patient: the PACS may not have decoded it. It is incomplete when the PACS
        names an ID that may be this one without characters it cannot write.
        """
        found = self._studies(patient_id)
        if not _NEEDS_ENCODING.search(patient_id) or _names(found, patient_id):
            return found
        pattern = _NEEDS_ENCODING.sub("*", patient_id)
        if len(pattern.replace("*", "")) < _MIN_PLAIN_CHARACTERS:
            return Answers(candidates=found.candidates, is_complete=False)
        found = self._studies(pattern)
        if patient_id.isascii() or _names(found, patient_id):
            return found
        is_mangled = any(_plain(answer.patient.patient_id) == _plain(patient_id) for answer in found.candidates)
        return Answers(candidates=found.candidates, is_complete=found.is_complete and not is_mangled)

    def open_study(self, candidate: Candidate, modalities: Sequence[str]) -> Candidate:
        """Return the candidate with the headers of its objects of these modalities; a study that is gone has none."""

        def page(offset: int) -> list[Row]:
            rows: list[Row] = self._client.search_for_series(
                candidate.study_uid, fields=SERIES_FIELDS, limit=self._config.page_size, offset=offset
            )
            return rows

        images: list[InstanceHeader] = []
        for series in self._all(page, "SeriesInstanceUID")[0]:
            modality = text_of(series, "Modality").upper()
            if not modality or modality in modalities:
                images += self._instances(candidate, series)
        return replace(candidate, images=tuple(images))

    def fetch(self, image: WantedImage, path: Path) -> None:
        """Write the object to `path`, in the transfer syntax it is stored in, by way of a .part file beside it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=PART_SUFFIX, delete=False) as part:
                try:
                    self._stream(image, part)
                    part.flush()
                    os.fsync(part.fileno())
                    Path(part.name).replace(path)
                except BaseException:
                    Path(part.name).unlink(missing_ok=True)
                    raise
        except OSError as exc:
            raise TransientError(ReasonCode.STORAGE_FULL, kind=type(exc).__name__, errno=exc.errno or 0) from exc

    def _stream(self, image: WantedImage, sink: IO[bytes]) -> None:
        prefix = self._config.wado_path.strip("/")
        root = f"{self._url}/{prefix}" if prefix else self._url
        url = f"{root}/studies/{image.study_uid}/series/{image.series_uid}/instances/{image.instance_uid}"
        with pacs_errors(url), self._get(url, _AS_STORED) as response:
            if response.status_code != requests.codes.not_acceptable:
                response.raise_for_status()
                save_object(response, sink)
                return
        with pacs_errors(url), self._get(url, _ANY_SYNTAX) as response:
            response.raise_for_status()
            save_object(response, sink)

    def _get(self, url: str, accept: str) -> requests.Response:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        return self._session.get(url, headers=headers, stream=True, timeout=self._timeout_s)

    def _studies(self, pattern: str) -> Answers:
        def page(offset: int) -> list[Row]:
            rows: list[Row] = self._client.search_for_studies(
                search_filters={"PatientID": pattern},
                fields=STUDY_FIELDS,
                limit=self._config.page_size,
                offset=offset,
            )
            return rows

        rows, is_complete = self._all(page, "StudyInstanceUID")
        candidates = (candidate_of(row) for row in rows)
        return Answers(candidates=tuple(c for c in candidates if c is not None), is_complete=is_complete)

    def _instances(self, candidate: Candidate, series: Row) -> list[InstanceHeader]:
        series_uid = uid_of(series, "SeriesInstanceUID")

        def page(offset: int) -> list[Row]:
            rows: list[Row] = self._client.search_for_instances(
                candidate.study_uid, series_uid, fields=INSTANCE_FIELDS, limit=self._config.page_size, offset=offset
            )
            return rows

        rows, _ = self._all(page, "SOPInstanceUID")
        headers = (header_of(row, series, candidate) for row in rows)
        return [header for header in headers if header is not None]

    def _all(self, page: Page, uid_keyword: str) -> tuple[list[Row], bool]:
        """Return the answers of all pages, each UID once, and whether the end was seen before `max_answers`."""
        rows: dict[str, Row] = {}
        while len(rows) < self._config.max_answers:
            with pacs_errors(self._url):
                answer = page(len(rows))
            fresh = {uid: row for row in answer if (uid := uid_of(row, uid_keyword)) and uid not in rows}
            rows.update(fresh)
            if not fresh or len(answer) < min(self._config.page_size, _SMALLEST_CAP):
                return list(rows.values()), True
        logger.warning("priors.too-many-answers", extra={"limit": self._config.max_answers})
        return list(rows.values()), False


def _names(answers: Answers, patient_id: str) -> bool:
    return any(answer.patient.patient_id == patient_id for answer in answers.candidates)


def _plain(patient_id: str) -> str:
    return "".join(character for character in patient_id if character.isascii() and character.isalnum())
