"""The frozen messages on the edges of the graph, in the order of the data's way."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from operators.domain.ids import AccessionNumber, AeTitle, InstanceUid, Revision, SeriesUid, StudyUid
from operators.domain.reasons import ReasonCode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# --- receive -> assemble ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Who the study speaks of, as the objects say it; empty text means the attribute was empty or absent."""

    patient_id: str
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""

    @property
    def key(self) -> str:
        """Identity within the archive: issuer and id. An empty id identifies nobody."""
        return f"{self.issuer}\x1f{self.patient_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeader:
    r"""What the node keeps of one object's header. Texts are as sent, decoded to Unicode; dates are DICOM DA text.

    Several values are joined by \. Fields may be added, always with a default: headers kept by an earlier version are
    read again. Of volumes the geometry is not kept here: models.shared.volumes reads it from the files.
    """

    instance_uid: InstanceUid
    sop_class_uid: str
    transfer_syntax_uid: str
    series_uid: SeriesUid
    study_uid: StudyUid
    patient: Patient
    accession_number: AccessionNumber
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    referring_physician: str = ""
    requested_procedure: str = ""
    requested_procedure_id: str = ""
    modality: str = ""
    body_part: str = ""
    view_position: str = ""
    patient_orientation: str = ""
    laterality: str = ""
    image_type: str = ""
    presentation_intent: str = ""
    series_number: int | None = None
    series_description: str = ""
    instance_number: int | None = None
    rows: int | None = None
    columns: int | None = None
    frames: int = 1
    content_time: str = ""
    protocol_name: str = ""
    representative_frame: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """An object that is durable: file fsynced, row committed. `opens_study`: it is an image and not our own."""

    instance_uid: InstanceUid
    study_uid: StudyUid
    opens_study: bool
    duplicate: bool
    received_at: datetime
    calling_ae: AeTitle


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyJob:
    """The unit of work between processes: one closed revision of one study."""

    study_uid: StudyUid
    revision: Revision


# --- assemble -> priors -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image object on local disk."""

    header: InstanceHeader
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study with its images. `images` are ordered by series number, instance number, instance UID."""

    study_uid: StudyUid
    revision: Revision
    patient: Patient
    accession_number: AccessionNumber
    study_id: str
    study_date: str
    study_time: str
    study_description: str
    referring_physician: str
    requested_procedure: str
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    images: tuple[Image, ...]


# --- priors -> encode ---------------------------------------------------------------------------------------------


class PriorOutcome(StrEnum):
    """What the search for priors came to; NONE_EXISTS and COULD_NOT_ASK stay different facts up to the report."""

    FOUND = "found"
    NONE_EXISTS = "none-exists"
    NONE_RELEVANT = "none-relevant"
    COULD_NOT_ASK = "could-not-ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorDecision:
    """One candidate study of the same patient and why it was taken or left. `rank` 0 is the most relevant chosen."""

    study_uid: StudyUid
    study_date: str
    study_time: str
    modalities: tuple[str, ...]
    study_description: str
    accession_number: AccessionNumber
    rank: int | None
    reason_code: str
    reason: str

    @property
    def chosen(self) -> bool:
        """Whether the candidate is compared with."""
        return self.rank is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorSearch:
    """The frozen answer of one search; `sentence` says it in words without patient data."""

    outcome: PriorOutcome
    decisions: tuple[PriorDecision, ...]
    searched_at: datetime
    sentence: str

    @property
    def chosen(self) -> tuple[PriorDecision, ...]:
        """The chosen candidates, most relevant first."""
        return tuple(sorted((d for d in self.decisions if d.rank is not None), key=lambda d: d.rank or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseWithPriors:
    """A study and the priors to compare with, most relevant first, their images on disk."""

    current: Study
    search: PriorSearch
    priors: tuple[Study, ...]


# --- encode -> retrieve -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRef:
    """The model that spoke: name, version and the SHA-256 over the bundle's files."""

    bundle_id: str
    name: str
    version: str
    sha256: str
    modality: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityTerm:
    """One entity the model is asked about: its MedReCo row, and the names of its codes in models/shared/codes.csv.

    `present_from` and `absent_below` are cuts on its probability, measured on held-out patients; None where nobody
    measured it, and then neither presence nor absence is stated.
    """

    index: int
    name: str
    kind: str
    anatomy: str
    finding_code: str
    site_code: str
    present_from: float | None
    absent_below: float | None

    @property
    def is_measured(self) -> bool:
        """Whether the model's answers on it were measured on held-out patients, so that they may be stated."""
        return self.present_from is not None and self.absent_below is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    r"""An axis-aligned region of one frame, in that image's pixel coordinates.

    PS3.3 C.18.6.1.2: column, row; the top-left corner of the top-left pixel is 0.0\0.0.
    """

    instance_uid: InstanceUid
    sop_class_uid: str
    frame_number: int
    left_px: float
    top_px: float
    right_px: float
    bottom_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadScope:
    """What of a study the model read as one input.

    `frame_number`, from 1, of the image that stands for it. `slices` of the volume, 0 for a plain image. `notes` are
    sentences on what was done to the series, without patient data. `phase`, `kernel`, `weighting` and `plane` say which
    kind of series it was, in the words of models.shared.volumes; empty where that does not apply.
    """

    frame_number: int = 1
    slices: int = 0
    notes: tuple[str, ...] = ()
    phase: str = ""
    kernel: str = ""
    weighting: str = ""
    plane: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EntityReading:
    """What the model says of one entity on one image or volume.

    `presence_prob` is in [0, 1]: calibrated where the entity was measured, else the model's raw answer, which means
    neither presence nor absence. `region` lies on one of the study's images: of a volume, on one slice.

    `embedding` is (D,) float32 of unit norm; `attention` is (n,) float32, sums to 1.
    """

    entity: EntityTerm
    presence_prob: float
    embedding: "NDArray[np.float32]"
    attention: "NDArray[np.float32]"
    region: Region


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedStudy:
    """What was read of a study and all entities' readings of it; `skipped` names images left out and why.

    `image` is the image that was read; of a volume, the slice that stands for it. `tokens` is (n, d) float32: the token
    map, reusable for any entity or place.
    """

    study: Study
    image: Image
    tokens: "NDArray[np.float32]"
    readings: tuple[EntityReading, ...]
    skipped: tuple[tuple[InstanceUid, ReasonCode], ...] = ()
    scope: ReadScope = ReadScope()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedCase:
    """The current study and its priors, read. `unreadable_priors` could be fetched but not read, with the reason."""

    current: EncodedStudy
    priors: tuple[EncodedStudy, ...]
    search: PriorSearch
    bundle: BundleRef
    unreadable_priors: tuple[tuple[StudyUid, ReasonCode], ...] = ()


# --- retrieve -> compare ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarCase:
    """One study of ANOTHER patient, best image of it, for one entity. Never leaves the web page and the API.

    `presence_prob` is None where nobody measured what the model says of the entity.
    """

    entity_index: int
    rank: int
    study_uid: StudyUid
    instance_uid: InstanceUid
    score_cosine: float
    presence_prob: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RetrievedCase:
    """The encoded case, stored in the index, with its similar cases."""

    encoded: EncodedCase
    similar: tuple[SimilarCase, ...]


# --- compare -> report --------------------------------------------------------------------------------------------


class Presence(StrEnum):
    """Presence of an entity on one image."""

    PRESENT = "present"
    ABSENT = "absent"
    UNDETERMINED = "undetermined"


class ChangeState(StrEnum):
    """State of an entity since the prior, the states of the contract."""

    NEW = "new"
    RESOLVED = "resolved"
    WORSE = "worse"
    BETTER = "better"
    STABLE = "stable"
    ABSENT = "absent"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityFinding:
    """One entity, current against prior, with the evidence for it.

    `state_swapped` is what the same rule says with current and prior exchanged: the mirror of `state`, or the finding
    is undetermined. `rule` names the rule that decided; `confidence` is in [0, 1], of the state as stated. Without a
    prior, `prior`, `prior_prob`, `similarity_cosine` and `prior_region` are None and `state` is UNDETERMINED. Of an
    entity that nobody measured there is no probability: `current_prob` and `prior_prob` are None.
    """

    entity: EntityTerm
    current: Presence
    prior: Presence | None
    current_prob: float | None
    prior_prob: float | None
    similarity_cosine: float | None
    state: ChangeState
    state_swapped: ChangeState
    confidence: float
    rule: str
    current_region: Region
    prior_region: Region | None

    @property
    def is_measured(self) -> bool:
        """Whether the model's answers on the entity were measured on held-out patients, so that they may be stated."""
        return self.entity.is_measured

    @property
    def stated_prob(self) -> float:
        """Probability of presence on the current image. Raises ValueError for an entity that nobody measured."""
        if self.current_prob is None:
            raise ValueError(f"entity {self.entity.index} was never measured: there is no probability to state")
        return self.current_prob


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence of the draft and the MedReCo rows of the findings it rests on.

    The rows are () only for statements about the comparison itself (what was compared, what could not be asked).
    """

    text: str
    entity_indices: tuple[int, ...]
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The comparison as plain values: all that report, page and messages render.

    `prior` is the study compared with, None when there is none. `cautions` are codes of acquisition differences.
    """

    current: Study
    current_image: Image
    prior: Study | None
    prior_image: Image | None
    search: PriorSearch
    bundle: BundleRef
    findings: tuple[EntityFinding, ...]
    sentences: tuple[Sentence, ...]
    cautions: tuple[str, ...] = ()
    current_scope: ReadScope = ReadScope()
    prior_scope: ReadScope = ReadScope()


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCase:
    """The comparison and, apart from it, the similar cases for the page."""

    comparison: Comparison
    similar: tuple[SimilarCase, ...]


def study_date_of(text: str) -> date | None:
    """Read a DICOM DA value; None when it is empty or not a date."""
    digits = text.replace(".", "").strip()
    if len(digits) != 8 or not digits.isdigit():
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
