"""What every document of a draft repeats around its content: a comparison and the node enter, DICOM modules leave."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from io import BytesIO
from zoneinfo import ZoneInfo

from pydicom import dcmwrite
from pydicom.config import RAISE
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import validate_value

from models.shared.codes import Code, code
from operators.domain.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from operators.domain.messages import Comparison, study_date_of
from operators.report.identity import DraftIdentity, algorithm_device_uid
from operators.report.node import MANUFACTURER, MODEL_NAME, NodeIdentity
from operators.report.source import put, take_over

CHARACTER_SET = "ISO_IR 192"
_SEXES = frozenset({"M", "F", "O"})
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_SHORT_TEXT_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSeries:
    """Where a document stands within the current study."""

    sop_class_uid: str
    instance_uid: str
    series_uid: str
    series_number: int
    modality: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Everything around the content of a draft's documents.

    `current_source` and `prior_source` are what documents take over from the files of the two images.
    """

    comparison: Comparison
    node: NodeIdentity
    identity: DraftIdentity
    rendered_at: datetime
    current_source: Dataset
    prior_source: Dataset | None

    @property
    def local_moment(self) -> datetime:
        """The moment of rendering on the clock that the study's own dates and times are told by.

        Timezone Offset From UTC (0008,0201) governs every date and time of an object, those of the study too, which are
        repeated as they are: so the offset is the images', and the node's only where they name none.
        """
        offset = str(self.current_source.get("TimezoneOffsetFromUTC", "")).strip()
        if not _OFFSET.fullmatch(offset):
            return self.rendered_at.astimezone(ZoneInfo(self.node.timezone))
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        return self.rendered_at.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))


def new_document(envelope: Envelope, series: DocumentSeries) -> FileDataset:
    """Return a file dataset with file meta information and all modules but the document's own."""
    ds = FileDataset("", {}, file_meta=file_meta(series), preamble=b"\0" * 128)
    seal(ds, envelope, series)
    return ds


def file_meta(series: DocumentSeries) -> FileMetaDataset:
    """File meta information (PS3.10 7.1) of a document, explicit VR little endian."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(series.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(series.instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def seal(ds: Dataset, envelope: Envelope, series: DocumentSeries) -> None:
    """Set the modules Patient, General Study, Series, General Equipment and SOP Common, whatever stood there."""
    ds.SpecificCharacterSet = CHARACTER_SET
    _add_patient(ds, envelope)
    _add_study(ds, envelope)
    take_over(ds, envelope.current_source)
    _add_series(ds, envelope, series)
    _add_equipment(ds, envelope.node)
    moment = envelope.local_moment
    ds.TimezoneOffsetFromUTC = moment.strftime("%z")[:5]
    ds.InstanceCreationDate, ds.InstanceCreationTime = da(moment), tm(moment)
    ds.ContentDate, ds.ContentTime = da(moment), tm(moment)
    ds.ContributingEquipmentSequence = _contributing_equipment(envelope)


def as_file(ds: Dataset) -> bytes:
    """Encode a document as a DICOM file (PS3.10)."""
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def da(moment: datetime) -> str:
    """DICOM DA of a moment."""
    return moment.strftime("%Y%m%d")


def tm(moment: datetime) -> str:
    """DICOM TM of a moment, whole seconds."""
    return moment.strftime("%H%M%S")


def valid_date(text: str) -> str:
    """DICOM DA text, or empty where it is no date."""
    day = study_date_of(text)
    return day.strftime("%Y%m%d") if day else ""


def valid_time(text: str) -> str:
    """DICOM TM text, or empty where it is no time."""
    try:
        validate_value("TM", text, RAISE)
    except ValueError:
        return ""
    return text


def _add_patient(ds: Dataset, envelope: Envelope) -> None:
    patient = envelope.comparison.current.patient
    put(ds, "PatientName", patient.name)
    put(ds, "PatientID", patient.patient_id)
    if patient.issuer:
        put(ds, "IssuerOfPatientID", patient.issuer)
    ds.PatientBirthDate = valid_date(patient.birth_date)
    ds.PatientSex = patient.sex if patient.sex in _SEXES else ""


def _add_study(ds: Dataset, envelope: Envelope) -> None:
    study = envelope.comparison.current
    ds.StudyInstanceUID = study.study_uid
    ds.StudyDate, ds.StudyTime = valid_date(study.study_date), valid_time(study.study_time)
    put(ds, "ReferringPhysicianName", study.referring_physician)
    put(ds, "StudyID", study.study_id)
    put(ds, "AccessionNumber", study.accession_number)
    if study.study_description:
        put(ds, "StudyDescription", study.study_description)


def _add_series(ds: Dataset, envelope: Envelope, series: DocumentSeries) -> None:
    moment = envelope.local_moment
    ds.SOPClassUID, ds.SOPInstanceUID = series.sop_class_uid, series.instance_uid
    ds.Modality = series.modality
    ds.SeriesInstanceUID, ds.SeriesNumber = series.series_uid, series.series_number
    ds.SeriesDescription = series.description
    ds.SeriesDate, ds.SeriesTime = da(moment), tm(moment)
    ds.InstanceNumber = int(envelope.comparison.current.revision)


def _add_equipment(ds: Dataset, node: NodeIdentity) -> None:
    ds.Manufacturer, ds.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    ds.DeviceSerialNumber = node.device_serial_number[:_SHORT_TEXT_CHARS]
    ds.SoftwareVersions = node.software_version
    if node.institution:
        put(ds, "InstitutionName", node.institution)
    if node.station_name:
        put(ds, "StationName", node.station_name)


def _contributing_equipment(envelope: Envelope) -> list[Dataset]:
    """Contributing Equipment Sequence (PS3.3 C.12.1): the modality that made the image, the model that read it."""
    acquired = Dataset()
    source = envelope.current_source
    acquired.PurposeOfReferenceCodeSequence = [code_item(code("acquisition_equipment"))]
    put(acquired, "Manufacturer", source.get("Manufacturer") or "")
    for keyword in (
        "InstitutionName",
        "StationName",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "SoftwareVersions",
    ):
        if keyword in source:
            put(acquired, keyword, source[keyword].value)
    bundle, node = envelope.comparison.bundle, envelope.node
    read = Dataset()
    read.PurposeOfReferenceCodeSequence = [code_item(code("processing_equipment"))]
    read.Manufacturer = MANUFACTURER
    read.ManufacturerModelName = bundle.name[:_SHORT_TEXT_CHARS]
    read.DeviceSerialNumber = node.device_serial_number[:_SHORT_TEXT_CHARS]
    read.SoftwareVersions = bundle.version[:_SHORT_TEXT_CHARS]
    read.DeviceUID = algorithm_device_uid(node, bundle.sha256)
    read.ContributionDateTime = envelope.local_moment.strftime("%Y%m%d%H%M%S%z")
    put(
        read,
        "ContributionDescription",
        f"Comparative reading by model bundle {bundle.bundle_id}, SHA-256 {bundle.sha256}",
    )
    return [acquired, read]


def code_item(concept: Code) -> Dataset:
    """Item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = concept.value, concept.scheme, concept.meaning
    return item
