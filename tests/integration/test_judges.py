"""Other people's validators: they pass a good report and find what is wrong with a bad one."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from tests.support import judges, peers
from tests.support.objects import ct_slice, save, seeded_uid, text_file

pytestmark = pytest.mark.peer

_NAMES = (
    "Παπαδοπούλου^Ελένη",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Łukasiewicz^Żaneta",
    "Müller-Lüdenscheidt^Jörg",
)


def _report(image: Dataset) -> Comprehensive3DSR:
    observer = ObserverContext(codes.DCM.Device, DeviceObserverIdentifyingAttributes(uid=seeded_uid("observer")))
    outline = np.array([[1.0, 1.0], [1.0, 9.0], [9.0, 9.0], [1.0, 1.0]])
    source = SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID)
    finding = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=seeded_uid("finding"), identifier="finding 1"),
        referenced_region=ImageRegion(GraphicTypeValues.POLYLINE, outline, source_image=source),
        finding_type=codes.SCT.Mass,
        finding_sites=[FindingSite(codes.SCT.Lung)],
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=CodedConcept("25045-6", "LN", "CT unspecified body region"),
        imaging_measurements=[finding],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return Comprehensive3DSR(
        evidence=[image], content=content, series_instance_uid=seeded_uid("sr", "series"), series_number=9,
        sop_instance_uid=seeded_uid("sr", "instance"), instance_number=1, manufacturer="Interval tests",
    )  # fmt: skip


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ct_slice(seed="evidence", size_px=32), tmp_path_factory.mktemp("evidence") / "ct.dcm")


@pytest.fixture
def report_path(evidence: Path, tmp_path: Path) -> Path:
    return save(_report(pydicom.dcmread(evidence)), tmp_path / "report.dcm")


def test_judges_find_nothing_wrong_with_a_good_report(report_path: Path, evidence: Path) -> None:
    peers.require("dciodvfy", "dcentvfy", "dsrdump", "java", "pixelmed.jar")
    assert judges.dciodvfy(report_path) == []
    assert judges.dcentvfy([evidence, report_path]) == []
    assert judges.pixelmed_sr(report_path) == []
    assert '"finding 1"' in judges.dsrdump(report_path)


def test_dciodvfy_finds_a_missing_attribute(report_path: Path) -> None:
    peers.require("dciodvfy")
    broken = pydicom.dcmread(report_path)
    del broken.SeriesNumber
    assert "SeriesNumber" in judges.dciodvfy(save(broken, report_path))[0]


def test_dcentvfy_finds_another_patient_in_the_same_study(report_path: Path, evidence: Path) -> None:
    peers.require("dcentvfy")
    other = pydicom.dcmread(report_path)
    other.PatientName = "Somebody^Else"
    assert "PatientName" in judges.dcentvfy([evidence, save(other, report_path)])[0]


def test_pixelmed_finds_a_relationship_that_the_template_forbids(report_path: Path) -> None:
    peers.require("java", "pixelmed.jar")
    broken = pydicom.dcmread(report_path)
    broken.ContentSequence[-1].ContentSequence[0].ContentSequence[0].RelationshipType = "CONTAINS"
    assert "Incorrect relationship" in judges.pixelmed_sr(save(broken, report_path))[0]


def test_dsrdump_shows_names_of_all_scripts(report_path: Path) -> None:
    peers.require("dsrdump")
    named = pydicom.dcmread(report_path)
    named.SpecificCharacterSet = "ISO_IR 192"
    for name in _NAMES:
        named.PatientName = name
        assert name in judges.dsrdump(save(named, report_path))


def test_no_judge_passes_a_file_it_cannot_read(tmp_path: Path) -> None:
    peers.require("dciodvfy", "dcentvfy", "dsrdump", "java", "pixelmed.jar", "pdftotext")
    path = text_file(tmp_path / "text.dcm")
    assert judges.dciodvfy(path)
    assert judges.dcentvfy([path])
    assert judges.pixelmed_sr(path)
    for read in (judges.dsrdump, judges.pdftotext):
        with pytest.raises(judges.UnreadableError):
            read(path)


def test_pdftotext_reads_what_the_page_says(tmp_path: Path) -> None:
    peers.require("pdftotext")
    canvas = pytest.importorskip("reportlab.pdfgen.canvas")
    page = canvas.Canvas(str(tmp_path / "page.pdf"))
    page.drawString(72, 720, "No change since the prior.")
    page.save()
    assert judges.pdftotext(tmp_path / "page.pdf").strip() == "No change since the prior."
