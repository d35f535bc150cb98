"""What the archive says of one study of the patient, before it is judged."""

from dataclasses import dataclass

from operators.domain.ids import AccessionNumber, InstanceUid, SeriesUid, StudyUid
from operators.domain.messages import InstanceHeader, Patient, PriorSearch


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A study among the archive's answers. `images` are its objects' headers; None: they were not looked up."""

    study_uid: StudyUid
    patient: Patient
    study_date: str
    study_time: str
    study_description: str
    accession_number: AccessionNumber
    modalities: tuple[str, ...]
    images: tuple[InstanceHeader, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedImage:
    """One image of a chosen prior, as it is fetched."""

    study_uid: StudyUid
    series_uid: SeriesUid
    instance_uid: InstanceUid


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenSearch:
    """What the stage decided once for a revision: the search, and the images of its chosen priors in order."""

    search: PriorSearch
    images: tuple[WantedImage, ...]
