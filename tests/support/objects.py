"""Real DICOM objects for tests, demo and bench: an image or a seed enters, a standards-clean dataset leaves.

Every UID is derived from `seed`, so that the same call gives the same object on every machine. Any attribute can be
given by its DICOM keyword and wins over the default: ``dx_from_image(film, seed="a", PatientID="P1")``.
"""

import hashlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
)

from models.shared.codes import code

_IMPLEMENTATION_CLASS_UID = UID("2.25.315162203141937171414127132231403215101")
AnyDataset = TypeVar("AnyDataset", bound=Dataset)
_VIEW_CODES = {"PA": "view_postero_anterior", "AP": "view_antero_posterior"}
_SMALLEST_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


def seeded_uid(*parts: str) -> UID:
    """UUID-derived UID (PS3.5 B.2) of the hash of `parts`; the same parts give the same UID."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16])}")


def code_item(concept: Code) -> Dataset:
    """Item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = concept.value
    item.CodingSchemeDesignator = concept.scheme_designator
    item.CodeMeaning = concept.meaning
    return item


def dx_from_image(source: Path | npt.NDArray[Any], *, seed: str = "dx", **attributes: Any) -> FileDataset:
    """Wrap a film as Digital X-Ray Image Storage - For Presentation (PS3.3 A.26), 8 or 16 bits, MONOCHROME2.

    `source` is an image file (its 8-bit luminance is taken) or a (rows, columns) array of uint8 or uint16.
    """
    is_jpeg = isinstance(source, Path) and source.suffix.lower() in {".jpg", ".jpeg"}
    pixels = np.asarray(Image.open(source).convert("L")) if isinstance(source, Path) else source
    ds = _new_object(DigitalXRayImageStorageForPresentation, seed)
    _add_study(ds, seed)
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageType = ["DERIVED" if is_jpeg else "ORIGINAL", "PRIMARY"]
    _add_dx_acquisition(ds)
    _set_pixels(ds, pixels)
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"  # fixed by PS3.3 C.8.11.3
    ds.PresentationLUTShape = "IDENTITY"
    ds.WindowCenter, ds.WindowWidth = str(2 ** (ds.BitsStored - 1)), str(2**ds.BitsStored)  # identity
    ds.LossyImageCompression = "01" if is_jpeg else "00"
    if is_jpeg:
        ds.LossyImageCompressionRatio = "10"
        ds.LossyImageCompressionMethod = "ISO_10918_1"
        ds.DerivationDescription = "Wrapped from a JPEG copy"
    _with(ds, attributes)
    if ds.ViewPosition in _VIEW_CODES and "ViewCodeSequence" not in attributes:
        ds.ViewCodeSequence = [code_item(code(_VIEW_CODES[ds.ViewPosition]).for_dicom())]
        ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
    return ds


def ct_slice(*, seed: str = "ct", instance_number: int = 1, size_px: int = 512, **attributes: Any) -> FileDataset:
    """One axial CT slice of `size_px` squared, 16 bits signed, in HU by rescale; 0.5 MB at the default size."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}/{instance_number}".encode()).digest()[:8]))
    y, x = np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j]
    body = np.where((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1, 1040, 0)
    lungs = np.where((((np.abs(x) - 0.35) / 0.25) ** 2 + (y / 0.4) ** 2) < 1, -800, 0)
    ds = _new_object(CTImageStorage, seed, str(instance_number))
    _add_study(ds, seed)
    ds.Modality = "CT"
    ds.BodyPartExamined, ds.PatientPosition = "CHEST", "HFS"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = str(instance_number)
    ds.FrameOfReferenceUID = seeded_uid(seed, "frame")
    ds.PositionReferenceIndicator = None
    ds.AcquisitionNumber = "1"
    ds.KVP = "120"
    ds.PixelSpacing = ["0.7", "0.7"]
    ds.SliceThickness = "1.25"
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.ImagePositionPatient = ["-179", "-179", str(-1.25 * instance_number)]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    _set_pixels(ds, (body + lungs + rng.integers(-30, 30, (size_px, size_px))).astype(np.int16))
    return _with(ds, attributes)


def basic_text_sr(*, seed: str = "sr", **attributes: Any) -> FileDataset:
    """Smallest Basic Text SR (PS3.3 A.35.1): a document without pixels."""
    ds = _new_object(BasicTextSRStorage, seed)
    _add_study(ds, seed)
    _add_document(ds, "SR", code("diagnostic_imaging_report").for_dicom())
    ds.CompletionFlag, ds.VerificationFlag = "PARTIAL", "UNVERIFIED"
    ds.PerformedProcedureCodeSequence = []
    text = Dataset()
    text.RelationshipType, text.ValueType = "CONTAINS", "TEXT"
    text.ConceptNameCodeSequence = [code_item(code("finding").for_dicom())]
    text.TextValue = "No comparison."
    ds.ContentSequence = [text]
    return _with(ds, attributes)


def key_objects(*images: Dataset, seed: str = "ko", **attributes: Any) -> FileDataset:
    """Build a Key Object Selection (PS3.3 A.35.4, TID 2010) that names `images`."""
    ds = _new_object(KeyObjectSelectionDocumentStorage, seed)
    _add_study(ds, seed)
    _add_document(ds, "KO", code("of_interest").for_dicom())
    ds.ContentTemplateSequence = [_with(Dataset(), {"MappingResource": "DCMR", "TemplateIdentifier": "2010"})]
    ds.ContentSequence = [_image_reference(image) for image in images]
    ds.CurrentRequestedProcedureEvidenceSequence = [_evidence(image) for image in images]
    return _with(ds, attributes)


def encapsulated_pdf(content: bytes = _SMALLEST_PDF, *, seed: str = "pdf", **attributes: Any) -> FileDataset:
    """Wrap a PDF as Encapsulated PDF (PS3.3 A.45.1): a document without pixels."""
    ds = _new_object(EncapsulatedPDFStorage, seed)
    _add_study(ds, seed)
    ds.Modality, ds.ConversionType, ds.InstanceNumber = "DOC", "WSD", "1"
    ds.AcquisitionDateTime = ds.StudyDate + ds.StudyTime
    ds.BurnedInAnnotation, ds.DocumentTitle = "YES", "Report"
    ds.ConceptNameCodeSequence = []
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    ds.EncapsulatedDocumentLength = len(content)
    return _with(ds, attributes)


def presentation_state(image: Dataset, *, seed: str = "pr", **attributes: Any) -> FileDataset:
    """Build a Grayscale Softcopy Presentation State (PS3.3 A.33.1) of one image, without pixels."""
    ds = _new_object(GrayscaleSoftcopyPresentationStateStorage, seed)
    _add_study(ds, seed)
    del ds.ContentDate, ds.ContentTime  # not of this IOD
    ds.Modality, ds.BodyPartExamined, ds.InstanceNumber, ds.ContentLabel = "PR", "CHEST", "1", "TEST"
    ds.ContentDescription = ds.ContentCreatorName = None
    ds.PresentationCreationDate, ds.PresentationCreationTime = ds.StudyDate, ds.StudyTime
    reference = _reference(image)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = image.SeriesInstanceUID, [reference]
    ds.ReferencedSeriesSequence = [series]
    area = Dataset()
    area.ReferencedImageSequence = [reference]
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [image.Columns, image.Rows]
    area.PresentationSizeMode, area.PresentationPixelAspectRatio = "SCALE TO FIT", ["1", "1"]
    ds.DisplayedAreaSelectionSequence = [area]
    ds.PresentationLUTShape = "IDENTITY"
    return _with(ds, attributes)


def absurd_size(*, seed: str = "absurd", rows: int = 65535, columns: int = 65535, **attributes: Any) -> FileDataset:
    """Wrap a few pixels whose header promises `rows` x `columns`."""
    ds = dx_from_image(np.zeros((16, 16), dtype=np.uint8), seed=seed, **attributes)
    ds.Rows, ds.Columns = rows, columns
    return ds


def as_bytes(ds: Dataset) -> bytes:
    """Encode the object as a DICOM file, preamble and file meta information included."""
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def save(ds: Dataset, path: Path) -> Path:
    """Write the object as a DICOM file and return its path."""
    path.write_bytes(as_bytes(ds))
    return path


def truncated(path: Path, *, keep_fraction: float = 0.5) -> Path:
    """Copy of a file beside it that ends early, as a broken transfer leaves it."""
    content = path.read_bytes()
    shortened = path.with_name(f"{path.stem}_truncated{path.suffix}")
    shortened.write_bytes(content[: int(len(content) * keep_fraction)])
    return shortened


def text_file(path: Path) -> Path:
    """Write a file that is no DICOM object at all, whatever its name says."""
    path.write_text("This is not a DICOM file.\n" * 40, encoding="ascii")
    return path


def _new_object(sop_class: UID, seed: str, part: str = "instance") -> FileDataset:
    file_meta = FileMetaDataset()
    file_meta.MediaStorageSOPClassUID = sop_class
    file_meta.MediaStorageSOPInstanceUID = seeded_uid(seed, sop_class, part)
    file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file_meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    ds = FileDataset("", {}, file_meta=file_meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = file_meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID = seeded_uid(seed, sop_class, "series")
    return ds


def _add_study(ds: Dataset, seed: str) -> None:
    ds.PatientName, ds.PatientID, ds.IssuerOfPatientID = "Test^Patient", f"ID-{seed}"[:64], "INTERVAL-TEST"
    ds.PatientBirthDate, ds.PatientSex = "19500101", "O"
    ds.StudyInstanceUID = seeded_uid(seed, "study")
    ds.StudyDate, ds.StudyTime = "20240102", "101500"
    ds.StudyID, ds.AccessionNumber = "1", hashlib.sha256(seed.encode()).hexdigest()[:12].upper()
    ds.ReferringPhysicianName = None
    ds.StudyDescription = "Chest"
    ds.SeriesNumber, ds.InstanceNumber = "1", "1"
    ds.SeriesDate, ds.SeriesTime = ds.StudyDate, ds.StudyTime
    ds.ContentDate, ds.ContentTime = ds.StudyDate, ds.StudyTime
    ds.Manufacturer, ds.ManufacturerModelName = "Interval tests", "Film wrapper"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.TimezoneOffsetFromUTC = datetime(2024, 1, 2, tzinfo=UTC).strftime("%z")


def _add_dx_acquisition(ds: Dataset) -> None:
    ds.AcquisitionDate, ds.AcquisitionTime = ds.StudyDate, ds.StudyTime
    ds.BodyPartExamined = "CHEST"
    ds.AnatomicRegionSequence = [code_item(code("chest").for_dicom())]
    ds.ImageLaterality = "U"
    ds.PatientOrientation = ["L", "F"]
    ds.ViewPosition = "PA"
    ds.DetectorType = "DIRECT"
    ds.DetectorConfiguration = "AREA"
    ds.DetectorDescription = ds.DetectorID = None
    ds.ImagerPixelSpacing = ["0.6", "0.6"]
    ds.PixelSpacing = ["0.6", "0.6"]
    ds.PositionerType = "NONE"
    ds.BurnedInAnnotation = "NO"
    ds.AcquisitionContextSequence = []
    ds.AcquisitionDeviceProcessingDescription = None


def _set_pixels(ds: Dataset, pixels: npt.NDArray[Any]) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    content = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"))).tobytes()
    ds.PixelData = content + b"\0" * (len(content) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"


def _add_document(ds: Dataset, modality: str, title: Code) -> None:
    ds.Modality, ds.InstanceNumber = modality, "1"
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [code_item(title)]


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def _image_reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "IMAGE"
    item.ReferencedSOPSequence = [_reference(image)]
    return item


def _evidence(image: Dataset) -> Dataset:
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = image.SeriesInstanceUID, [_reference(image)]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = image.StudyInstanceUID, [series]
    return study


def _with(ds: AnyDataset, attributes: dict[str, Any]) -> AnyDataset:
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    if "SOPInstanceUID" in attributes and isinstance(ds, FileDataset):
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds
