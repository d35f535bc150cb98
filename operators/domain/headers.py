"""The one reader of DICOM headers: a dataset without its pixels enters, an InstanceHeader leaves.

Objects in hospitals break the standard in every way. What cannot be understood becomes empty text or None; nothing
raises. An object without its four UIDs gets empty ones, and it is for the caller to refuse it.
"""

import struct
from collections.abc import Sequence

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from operators.domain.ids import AccessionNumber, InstanceUid, SeriesUid, StudyUid
from operators.domain.messages import InstanceHeader, Patient

_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError, struct.error, Warning)
_ESCAPE = b"\x1b"
_UNDECLARED = ("iso8859", "iso_ir_6", "ascii")
_CONTROLS = dict.fromkeys((*range(32), 127), " ") | {0: None}

# PS3.16 CID 4010 "DX View": the views that View Position (PS3.3 C.8.7.1.1) can name, by code value.
_VIEWS = {
    Code("272479007", "SCT", "postero-anterior"): "PA",
    Code("399348003", "SCT", "antero-posterior"): "AP",
    Code("399173006", "SCT", "left lateral"): "LL",
    Code("399198007", "SCT", "right lateral"): "RL",
    Code("399067008", "SCT", "lateral projection"): "LATERAL",
    Code("399135007", "SCT", "left anterior oblique"): "LAO",
    Code("399356000", "SCT", "right anterior oblique"): "RAO",
    Code("399006002", "SCT", "left posterior oblique"): "LPO",
    Code("399038007", "SCT", "right posterior oblique"): "RPO",
}

# PS3.16 CID 4031 "Common Anatomic Regions" and Annex L: the Body Part Examined that corresponds to a region.
_BODY_PARTS = {
    Code("816094009", "SCT", "Chest"): "CHEST",
    Code("51185008", "SCT", "Chest"): "CHEST",
    Code("818981001", "SCT", "Abdomen"): "ABDOMEN",
    Code("113345001", "SCT", "Abdomen"): "ABDOMEN",
    Code("416550000", "SCT", "Chest and Abdomen"): "CHESTABDOMEN",
    Code("416775004", "SCT", "Chest, Abdomen and Pelvis"): "CHESTABDPELVIS",
    Code("113197003", "SCT", "Rib"): "RIB",
    Code("122495006", "SCT", "Thoracic spine"): "TSPINE",
    Code("69536005", "SCT", "Head"): "HEAD",
    Code("45048000", "SCT", "Neck"): "NECK",
    Code("12921003", "SCT", "Pelvis"): "PELVIS",
}


def read_header(ds: Dataset, *, transfer_syntax_uid: str) -> InstanceHeader:
    """Return what the node keeps of an object's header.

    Parameters
    ----------
    ds
        The object as read; its pixel data may be missing.
    transfer_syntax_uid
        How the object is encoded on disk; the dataset itself may not say.
    """
    return InstanceHeader(
        instance_uid=InstanceUid(_text(ds, "SOPInstanceUID")),
        sop_class_uid=_text(ds, "SOPClassUID"),
        transfer_syntax_uid=transfer_syntax_uid,
        series_uid=SeriesUid(_text(ds, "SeriesInstanceUID")),
        study_uid=StudyUid(_text(ds, "StudyInstanceUID")),
        patient=_patient(ds),
        accession_number=AccessionNumber(_text(ds, "AccessionNumber")),
        study_id=_text(ds, "StudyID"),
        study_date=_text(ds, "StudyDate"),
        study_time=_text(ds, "StudyTime"),
        study_description=_text(ds, "StudyDescription"),
        referring_physician=_text(ds, "ReferringPhysicianName"),
        requested_procedure=_requested_procedure(ds),
        requested_procedure_id=_requested_procedure_id(ds),
        modality=_text(ds, "Modality").upper(),
        body_part=_text(ds, "BodyPartExamined").upper() or _coded(ds, "AnatomicRegionSequence", _BODY_PARTS),
        view_position=_text(ds, "ViewPosition").upper() or _coded(ds, "ViewCodeSequence", _VIEWS),
        patient_orientation=_text(ds, "PatientOrientation"),
        laterality=_text(ds, "ImageLaterality") or _text(ds, "Laterality"),
        image_type=_text(ds, "ImageType"),
        presentation_intent=_text(ds, "PresentationIntentType"),
        series_number=_count(ds, "SeriesNumber"),
        series_description=_text(ds, "SeriesDescription"),
        instance_number=_count(ds, "InstanceNumber"),
        rows=_size(ds, "Rows"),
        columns=_size(ds, "Columns"),
        frames=max(1, _count(ds, "NumberOfFrames") or 1),
        content_time=_text(ds, "ContentTime") or _text(ds, "AcquisitionTime"),
        protocol_name=_text(ds, "ProtocolName"),
        representative_frame=_size(ds, "RepresentativeFrameNumber"),
    )


def _patient(ds: Dataset) -> Patient:
    return Patient(
        patient_id=_text(ds, "PatientID"),
        issuer=_text(ds, "IssuerOfPatientID"),
        name=_text(ds, "PatientName"),
        birth_date=_text(ds, "PatientBirthDate"),
        sex=_text(ds, "PatientSex"),
    )


def _requested_procedure(ds: Dataset) -> str:
    """Return the procedure as ordered: in the general study module, else in the request attributes (PS3.3 10.6)."""
    for item in _requests(ds):
        said = _text(item, "RequestedProcedureDescription")
        for code in _items(item, "RequestedProcedureCodeSequence"):
            said = said or _text(code, "CodeMeaning")
        if said:
            return said
    return ""


def _requested_procedure_id(ds: Dataset) -> str:
    """Return the number of the procedure as ordered, of the first request that has one."""
    return next(filter(None, (_text(item, "RequestedProcedureID") for item in _requests(ds))), "")


def _requests(ds: Dataset) -> tuple[Dataset, ...]:
    return (ds, *_items(ds, "RequestAttributesSequence"))


def _coded(ds: Dataset, keyword: str, meanings: dict[Code, str]) -> str:
    for item in _items(ds, keyword):
        code = Code(_text(item, "CodeValue"), _text(item, "CodingSchemeDesignator"), "")
        for known, meaning in meanings.items():
            if known == code:  # equal across SNOMED's old and new identifiers
                return meaning
    return ""


def _items(ds: Dataset, keyword: str) -> list[Dataset]:
    try:
        items = ds.get(keyword)
        return [item for item in items or () if isinstance(item, Dataset)]
    except _ODD:
        return []


def _text(ds: Dataset, keyword: str) -> str:
    r"""Return an attribute as one line of Unicode: several values joined by \, no padding, no control characters."""
    try:
        element: object = ds.get_item(Tag(keyword))
        if isinstance(element, RawDataElement) and element.VR != "SQ":
            said = _decode(element.value or b"", ds, is_name=keyword.endswith("Name"))
        else:
            said = _joined(ds.get(keyword))
    except _ODD:
        return ""
    return said.encode("utf-8", "replace").decode().translate(_CONTROLS).strip()


def _joined(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list | tuple):
        return "\\".join(str(one) for one in value)
    return str(value)


def _decode(raw: bytes, ds: Dataset, *, is_name: bool) -> str:
    """Decode by the declared Specific Character Set (PS3.5 6.1); where that fails, as UTF-8, then as Latin-1.

    Objects that declare nothing but carry valid UTF-8 are common; they are read as what they are.
    """
    encodings = _encodings(ds)
    if raw.isascii() and _ESCAPE not in raw:
        return raw.decode("ascii")
    if _ESCAPE in raw:
        return decode_bytes(raw, encodings, PN_DELIMS if is_name else TEXT_VR_DELIMS)
    declared = () if encodings[0] in _UNDECLARED and "SpecificCharacterSet" not in ds else (encodings[0],)
    for encoding in (*declared, "utf-8"):
        try:
            return raw.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return raw.decode("latin-1")


def _encodings(ds: Dataset) -> Sequence[str]:
    """Return the Python names of the dataset's character sets; an item of a sequence inherits its parent's."""
    known = ds.original_character_set or convert_encodings(None)
    return [known] if isinstance(known, str) else list(known)


def _count(ds: Dataset, keyword: str) -> int | None:
    """Return the number in an integer string; read from its text, because pydicom logs a value that is no number."""
    try:
        return int(_text(ds, keyword))
    except ValueError:
        return None


def _size(ds: Dataset, keyword: str) -> int | None:
    """Return a binary number; None where there is none, several, or something else."""
    try:
        value = ds.get(keyword)
        return None if value is None else int(value)
    except _ODD:
        return None
