"""A job to its study: the rows of its images enter, the message with all images on disk leaves."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from operators.domain.codec import from_plain
from operators.domain.database import Pool, transaction
from operators.domain.errors import PermanentError
from operators.domain.ids import AccessionNumber
from operators.domain.messages import Image, InstanceHeader, Patient, Study, StudyJob
from operators.domain.patient_keys import patient_of
from operators.domain.reasons import ReasonCode

_STUDY = "SELECT * FROM studies WHERE study_uid = %s"

_IMAGES = """
SELECT header, path, purged_at FROM instances
WHERE study_uid = %(study_uid)s AND revision BETWEEN 1 AND %(revision)s"""

# Objects of one study may name a patient by several identifiers when these were merged meanwhile.
_MERGED = "SELECT former_key, current_key FROM patient_merges WHERE former_key = ANY(%s)"

_LAST = 2**31


class StudyReader:
    """Loads studies from the tables and the spool."""

    def __init__(self, pool: Pool, spool_root: Path) -> None:
        self._pool = pool
        self._spool_root = spool_root

    def load(self, job: StudyJob) -> Study:
        """Return the study with the images of its revisions up to the job's.

        Raises PermanentError with SPOOL_FILE_MISSING or PATIENT_AMBIGUOUS, TransientError when the database is away.
        """
        with transaction(self._pool) as connection:
            row = connection.execute(_STUDY, (job.study_uid,)).fetchone()
            rows = connection.execute(_IMAGES, {"study_uid": job.study_uid, "revision": job.revision}).fetchall()
            keys = list({from_plain(InstanceHeader, each["header"]).patient.key for each in rows})
            merged = connection.execute(_MERGED, (keys,)).fetchall()
        images = [self._image(each) for each in rows]
        missing = sum(image is None for image in images)
        if row is None or not images or missing:
            raise PermanentError(ReasonCode.SPOOL_FILE_MISSING, missing=missing, images=len(images))
        current = {each["former_key"]: each["current_key"] for each in merged}
        return study_of(job, row, [image for image in images if image is not None], current)

    def _image(self, row: Mapping[str, Any]) -> Image | None:
        path = self._spool_root / row["path"]
        if row["purged_at"] is not None or not path.is_file():
            return None
        return Image(header=from_plain(InstanceHeader, row["header"]), path=path)


def study_of(
    job: StudyJob, row: Mapping[str, Any], images: Sequence[Image], current: Mapping[str, str] = MappingProxyType({})
) -> Study:
    """Make the message of a study's row and its images.

    `current` gives the key in use now of every patient key that was merged. Raises PermanentError(PATIENT_AMBIGUOUS).
    """
    said = [image.header.patient for image in images]
    patients = [patient_of(current[each.key]) if each.key in current else each for each in said]
    if not _is_one(patients):
        raise PermanentError(ReasonCode.PATIENT_AMBIGUOUS, images=len(images))
    ordered = tuple(sorted(images, key=_place))
    return Study(
        study_uid=job.study_uid,
        revision=job.revision,
        patient=Patient(
            patient_id=row["patient_id"],
            issuer=row["patient_issuer"],
            name=row["patient_name"],
            birth_date=row["patient_birth_date"],
            sex=row["patient_sex"],
        ),
        accession_number=AccessionNumber(row["accession_number"]),
        study_id=row["study_id"],
        study_date=row["study_date"],
        study_time=row["study_time"],
        study_description=row["study_description"],
        referring_physician=row["referring_physician"],
        requested_procedure=row["requested_procedure"],
        modalities=_distinct(image.header.modality for image in ordered),
        body_parts=_distinct(image.header.body_part for image in ordered),
        images=ordered,
    )


def _is_one(patients: Sequence[Patient]) -> bool:
    """Whether all name one patient: the same id, and no two different issuers; an issuer may be left out."""
    issuers = {patient.issuer for patient in patients} - {""}
    return len({patient.patient_id for patient in patients}) == 1 and len(issuers) <= 1


def _place(image: Image) -> tuple[int, str, int, str]:
    """Series number, instance number and instance UID; what has no number comes last, series stay together."""
    header = image.header
    series = _LAST if header.series_number is None else header.series_number
    number = _LAST if header.instance_number is None else header.instance_number
    return series, header.series_uid, number, header.instance_uid


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))
