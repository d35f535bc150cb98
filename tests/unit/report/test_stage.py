"""The draft as a whole: what its documents say of patient, study, node and each other."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, Comprehensive3DSRStorage, EncapsulatedPDFStorage

from operators.domain.drafts import DocumentKind
from operators.domain.errors import PermanentError
from operators.domain.ids import InstanceUid, SeriesUid
from operators.domain.messages import Image
from operators.domain.reasons import ReasonCode
from operators.report.config import CompanionForm, ReportConfig
from operators.report.predecessor import SrReference
from tests.support.comparisons import comparison, comparison_without_prior
from tests.support.drafts import CONFIG, NODE, draft_of, read

PATIENT_NAMES = (
    "Παπαδόπουλος^Γιώργος",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Ångström-Łukasiewicz^Žofie",
    "Кузнецов^Пётр",
)


def test_rendering_again_at_the_same_moment_gives_the_same_bytes(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    first, second = draft_of(of), draft_of(of)
    assert [d.content for d in first.documents] == [d.content for d in second.documents]
    assert first.preview_pdf == second.preview_pdf


def test_rendering_later_keeps_every_identity(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    first, later = draft_of(of), draft_of(of, rendered_at=datetime(2026, 12, 1, tzinfo=UTC))
    assert [d.identity for d in first.documents] == [d.identity for d in later.documents]
    assert first.identity_digest == later.identity_digest


@pytest.mark.parametrize("name", PATIENT_NAMES)
def test_names_of_every_script_survive(tmp_path: Path, name: str) -> None:
    draft = draft_of(comparison(tmp_path, PatientName=name))
    for kind in (DocumentKind.SR, DocumentKind.PDF):
        ds = read(draft, kind)
        assert ds.SpecificCharacterSet == "ISO_IR 192"
        assert str(ds.PatientName) == name


def test_japanese_name_sent_in_iso_2022_arrives_in_unicode(tmp_path: Path) -> None:
    draft = draft_of(
        comparison(
            tmp_path,
            SpecificCharacterSet=["", "ISO 2022 IR 87"],
            PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        )
    )
    assert str(read(draft).PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_text_beyond_latin_survives_in_content_items(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    sentence = replace(of.sentences[-1], text="Erguss ≥ 5 mm, Größe unverändert; 胸水。")
    draft = draft_of(replace(of, sentences=(*of.sentences[:-1], sentence)))
    narrative = next(item for item in read(draft).ContentSequence if "Narrative" in _name(item))
    assert narrative.TextValue.endswith("Erguss ≥ 5 mm, Größe unverändert; 胸水。")


def test_every_document_lands_in_the_current_study(tmp_path: Path) -> None:
    of = comparison(tmp_path, StudyID="S 77", AccessionNumber="ACC-1")
    of = replace(of, current=replace(of.current))
    draft = draft_of(of)
    for kind in (DocumentKind.SR, DocumentKind.PDF):
        ds = read(draft, kind)
        assert ds.StudyInstanceUID == of.current.study_uid
        assert ds.AccessionNumber == of.current.accession_number == "ACC-1"
        assert (ds.StudyID, ds.StudyDate, ds.StudyTime) == ("S 77", "20240123", "081500")
        assert (ds.PatientID, ds.IssuerOfPatientID) == (of.current.patient.patient_id, of.current.patient.issuer)


def test_draft_is_never_dressed_as_a_report(tmp_path: Path) -> None:
    draft = draft_of(comparison(tmp_path))
    sr, pdf = read(draft), read(draft, DocumentKind.PDF)
    assert (sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag) == ("PARTIAL", "UNVERIFIED", "PRELIMINARY")
    assert "VerifyingObserverSequence" not in sr
    assert pdf.VerificationFlag == "UNVERIFIED"
    assert "not verified" in pdf.DocumentTitle


def test_evidence_is_told_apart_by_study(tmp_path: Path) -> None:
    of = comparison(tmp_path, films=2)
    ds = read(draft_of(of))
    assert _referenced(ds.CurrentRequestedProcedureEvidenceSequence) == {
        of.current.study_uid: {image.header.instance_uid for image in of.current.images}
    }
    assert of.prior is not None
    assert of.prior_image is not None
    assert _referenced(ds.PertinentOtherEvidenceSequence) == {of.prior.study_uid: {of.prior_image.header.instance_uid}}


def test_without_a_prior_there_is_no_other_evidence(tmp_path: Path) -> None:
    assert "PertinentOtherEvidenceSequence" not in read(draft_of(comparison_without_prior(tmp_path)))


def test_pdf_names_the_structured_report_and_the_images_it_shows(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    draft = draft_of(of)
    sources = [
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for item in read(draft, DocumentKind.PDF).SourceInstanceSequence
    ]
    assert sources[0] == (Comprehensive3DSRStorage, draft.document(DocumentKind.SR).identity)
    assert of.prior_image is not None
    shown = {of.current_image.header.instance_uid, of.prior_image.header.instance_uid}
    assert {uid for _, uid in sources[1:]} == shown


def test_encapsulated_pdf_holds_the_preview(tmp_path: Path) -> None:
    draft = draft_of(comparison(tmp_path))
    ds = read(draft, DocumentKind.PDF)
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == draft.preview_pdf
    assert ds.SOPClassUID == EncapsulatedPDFStorage


@pytest.mark.parametrize(
    ("form", "classes"),
    [
        (CompanionForm.PDF, [Comprehensive3DSRStorage, EncapsulatedPDFStorage]),
        (CompanionForm.BASIC_TEXT_SR, [Comprehensive3DSRStorage, BasicTextSRStorage]),
        (CompanionForm.NONE, [Comprehensive3DSRStorage]),
    ],
)
def test_companion_is_what_the_settings_ask_for(tmp_path: Path, form: CompanionForm, classes: list[str]) -> None:
    draft = draft_of(comparison(tmp_path), config=ReportConfig(companion=form))
    assert [document.sop_class_uid for document in draft.documents] == classes
    assert draft.preview_pdf.startswith(b"%PDF-")


def test_text_companion_says_the_narrative_and_names_the_structured_report(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    draft = draft_of(of, config=ReportConfig(companion=CompanionForm.BASIC_TEXT_SR))
    ds = read(draft, DocumentKind.TEXT)
    impressions = next(item for item in ds.ContentSequence if _name(item) == "Impressions")
    assert [item.TextValue for item in impressions.ContentSequence] == [s.text for s in of.sentences]
    source = next(item for item in ds.ContentSequence if item.ValueType == "COMPOSITE")
    assert source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == draft.document(DocumentKind.SR).identity


def test_replacing_draft_names_its_predecessor(tmp_path: Path) -> None:
    of = comparison(tmp_path, revision=2)
    predecessor = SrReference(
        study_uid=of.current.study_uid,
        series_uid=SeriesUid("2.25.11"),
        instance_uid=InstanceUid("2.25.12"),
        sop_class_uid=Comprehensive3DSRStorage,
    )
    draft = draft_of(of, predecessor=predecessor)
    assert _referenced(read(draft).PredecessorDocumentsSequence) == {of.current.study_uid: {"2.25.12"}}
    assert draft.predecessor_sr_uid == "2.25.12"


def test_first_draft_names_no_predecessor(tmp_path: Path) -> None:
    assert "PredecessorDocumentsSequence" not in read(draft_of(comparison(tmp_path)))


def test_contributing_equipment_names_the_model_and_changes_with_it(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    retrained = replace(of, bundle=replace(of.bundle, sha256="e" * 64))
    models = [
        next(
            item
            for item in read(draft_of(each)).ContributingEquipmentSequence
            if item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        )
        for each in (of, retrained)
    ]
    assert models[0].Manufacturer == "Interval"
    assert (models[0].ManufacturerModelName, models[0].SoftwareVersions) == (of.bundle.name, of.bundle.version)
    assert models[0].DeviceUID != models[1].DeviceUID


def test_dates_are_told_by_the_images_own_offset(tmp_path: Path) -> None:
    ds = read(draft_of(comparison(tmp_path, TimezoneOffsetFromUTC="-0330")))
    assert (ds.TimezoneOffsetFromUTC, ds.ContentDate, ds.ContentTime) == ("-0330", "20261122", "063000")


def test_where_the_images_name_no_offset_the_nodes_zone_counts(tmp_path: Path) -> None:
    ds = read(draft_of(comparison(tmp_path, TimezoneOffsetFromUTC=None)))
    assert (ds.TimezoneOffsetFromUTC, ds.ContentTime) == ("+0200", "120000")


def test_values_that_no_standard_allows_do_not_stop_a_draft(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    patient = replace(of.current.patient, patient_id="X" * 70, birth_date="unknown", sex="W")
    current = replace(of.current, patient=patient, study_date="31.12.", study_time="noon")
    ds = read(draft_of(replace(of, current=current)))
    assert ds.get_item("PatientID").value == b"X" * 70
    assert (ds.PatientBirthDate, ds.PatientSex, ds.StudyDate, ds.StudyTime) == ("", "", "", "")


def test_request_is_taken_over_from_the_image(tmp_path: Path) -> None:
    request = Dataset()
    request.RequestedProcedureID, request.RequestedProcedureDescription = "RP-1", "Θώρακας"
    of = comparison(tmp_path, RequestAttributesSequence=[request], AccessionNumber="ACC-9")
    item = read(draft_of(of)).ReferencedRequestSequence[0]
    assert (item.RequestedProcedureID, item.RequestedProcedureDescription) == ("RP-1", "Θώρακας")
    assert (item.AccessionNumber, item.StudyInstanceUID) == ("ACC-9", of.current.study_uid)


def test_study_that_nobody_requested_refers_to_no_request(tmp_path: Path) -> None:
    assert "ReferencedRequestSequence" not in read(draft_of(comparison(tmp_path, AccessionNumber="")))


def test_image_file_that_is_gone_parks_the_study(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    gone = Image(header=of.current_image.header, path=tmp_path / "gone.dcm")
    with pytest.raises(PermanentError) as caught:
        draft_of(replace(of, current_image=gone))
    assert caught.value.code is ReasonCode.SPOOL_FILE_MISSING


def test_code_that_is_not_kept_is_an_invalid_report(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    strange = replace(of.findings[1], entity=replace(of.findings[1].entity, finding_code="no-such-code"))
    with pytest.raises(PermanentError) as caught:
        draft_of(replace(of, findings=(*of.findings, strange)))
    assert caught.value.code is ReasonCode.REPORT_INVALID


def test_own_uid_root_is_used_throughout(tmp_path: Path) -> None:
    draft = draft_of(comparison(tmp_path), node=replace(NODE, uid_root="1.2.826.0.1.3680043.10.999"), config=CONFIG)
    ds = read(draft)
    ours = [ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.ContributingEquipmentSequence[-1].DeviceUID]
    assert all(uid.startswith("1.2.826.0.1.3680043.10.999.") for uid in ours)


def _name(item: Dataset) -> str:
    meaning: str = item.ConceptNameCodeSequence[0].CodeMeaning
    return meaning


def _referenced(sequence: list[Dataset]) -> dict[str, set[str]]:
    return {
        study.StudyInstanceUID: {
            item.ReferencedSOPInstanceUID
            for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        }
        for study in sequence
    }


def test_probabilities_are_written_in_percent(tmp_path: Path) -> None:
    of = comparison(tmp_path)
    measured = [
        (item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue, item.MeasuredValueSequence[0])
        for item in _all_items(read(draft_of(of)))
        if item.ValueType == "NUM" and _name(item) in ("Probability", "Certainty of Finding")
    ]
    assert {unit for unit, _ in measured} == {"%"}
    assert {91.0, 8.0, 9.0, 94.0, 88.0, 86.0, 52.0, 81.0, 83.0} <= {float(value.NumericValue) for _, value in measured}


def _all_items(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from _all_items(child)
