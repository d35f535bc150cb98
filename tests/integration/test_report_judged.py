"""Every rendering before other people's validators, and before our own questions about what those do not ask."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from models.shared.codes import LOCAL_SCHEME, codes
from operators.domain.drafts import DocumentKind, DraftReport
from operators.domain.ids import InstanceUid, SeriesUid
from operators.domain.messages import Comparison, PriorOutcome
from operators.report.config import CompanionForm, ReportConfig
from operators.report.predecessor import SrReference
from tests.support.comparisons import comparison, comparison_without_prior, entity, told, unmeasured
from tests.support.drafts import draft_of, read
from tests.support.judges import dcentvfy, dciodvfy, dsrdump, pdftotext, pixelmed_sr
from tests.support.peers import require

pytestmark = pytest.mark.peer

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
GREEK = "Παπαδόπουλος^Γιώργος"
# dicom3tools files Accession Number under Study for some IODs and under Series for others: its own tables disagree.
DISAGREES_WITH_ITSELF = "Different information entities for attribute - Element=<AccessionNumber>"

# Concepts that highdicom's templates bring (PS3.16 TID 1502, TID 1004; the purpose of a region's image).
OF_THE_TEMPLATES = {
    ("UMLS", "C2348792"): "Time Point",
    ("DCM", "121016"): "Device Observer Serial Number",
    ("SCT", "260753009"): "Source",
}


def follow_up(folder: Path) -> Comparison:
    return comparison(folder, PatientName=GREEK, films=2)


def first_study(folder: Path) -> Comparison:
    return comparison_without_prior(folder, PatientName=JAPANESE)


def archive_silent(folder: Path) -> Comparison:
    return comparison_without_prior(folder, outcome=PriorOutcome.COULD_NOT_ASK)


def nothing_seen(folder: Path) -> Comparison:
    of = comparison(folder)
    kept = {entity(name).index for name in ("pneumothorax", "lymph_nodes")}
    return told(replace(of, findings=tuple(f for f in of.findings if f.entity.index in kept)))


def bare_header(folder: Path) -> Comparison:
    """Make a comparison whose images say as little as images may."""
    return comparison(
        folder, ImagerPixelSpacing=None, PixelSpacing=None, PatientOrientation=None, AccessionNumber="", StudyID=""
    )


def nothing_measured(folder: Path) -> Comparison:
    return unmeasured(comparison(folder))


CASES = (follow_up, first_study, archive_silent, nothing_seen, nothing_measured, bare_header)


@dataclass(frozen=True)
class Case:
    of: Comparison
    draft: DraftReport
    ds: Dataset


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    require("dciodvfy", "dcentvfy", "dsrdump", "java", "pixelmed.jar", "pdftotext")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.__name__)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    make: Callable[[Path], Comparison] = request.param
    of = make(tmp_path_factory.mktemp("films"))
    draft = draft_of(of)
    return Case(of=of, draft=draft, ds=read(draft))


def write(draft: DraftReport, folder: Path) -> dict[DocumentKind, Path]:
    paths = {}
    for document in draft.documents:
        paths[document.kind] = folder / f"{document.kind}.dcm"
        paths[document.kind].write_bytes(document.content)
    return paths


def test_dicom3tools_and_dsrdump_find_no_error(case: Case, tmp_path: Path) -> None:
    paths = write(case.draft, tmp_path)
    assert [dciodvfy(path) for path in paths.values()] == [[], []]
    assert "Imaging Measurement Report" in dsrdump(paths[DocumentKind.SR])


@pytest.mark.parametrize("make", [follow_up, first_study, nothing_seen, nothing_measured])
def test_pixelmed_finds_no_error(make: Callable[[Path], Comparison], tmp_path: Path) -> None:
    assert pixelmed_sr(write(draft_of(make(tmp_path)), tmp_path)[DocumentKind.SR]) == []


def test_draft_contradicts_none_of_its_evidence(case: Case, tmp_path: Path) -> None:
    paths = list(write(case.draft, tmp_path).values())
    evidence = [image.path for image in case.of.current.images]
    evidence += [case.of.prior_image.path] if case.of.prior_image else []
    assert [error for error in dcentvfy([*evidence, *paths]) if DISAGREES_WITH_ITSELF not in error] == []


def test_text_companion_passes_the_same_judges(tmp_path: Path) -> None:
    of = follow_up(tmp_path)
    draft = draft_of(of, config=ReportConfig(companion=CompanionForm.BASIC_TEXT_SR))
    path = write(draft, tmp_path)[DocumentKind.TEXT]
    assert dciodvfy(path) == []
    assert pixelmed_sr(path, root_template=False) == []
    assert GREEK in dsrdump(path)


def test_replacing_draft_passes_the_same_judges(tmp_path: Path) -> None:
    of = comparison(tmp_path, revision=2)
    predecessor = SrReference(
        study_uid=of.current.study_uid,
        series_uid=SeriesUid("2.25.11"),
        instance_uid=InstanceUid("2.25.12"),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
    )
    path = write(draft_of(of, predecessor=predecessor), tmp_path)[DocumentKind.SR]
    assert dciodvfy(path) == []
    assert "2.25.12" in str(read(draft_of(of, predecessor=predecessor)).PredecessorDocumentsSequence)


@pytest.mark.parametrize("name", [GREEK, JAPANESE, "Ångström-Łukasiewicz^Žofie"])
def test_other_readers_see_names_as_they_were_sent(name: str, tmp_path: Path) -> None:
    draft = draft_of(comparison(tmp_path, PatientName=name))
    assert name in dsrdump(write(draft, tmp_path)[DocumentKind.SR])
    pdf = tmp_path / "companion.pdf"
    pdf.write_bytes(draft.preview_pdf)
    said = pdftotext(pdf)
    for component in name.replace("=", "^").split("^"):
        assert component in said


def test_every_page_of_the_pdf_says_that_it_is_a_draft(tmp_path: Path) -> None:
    pdf = tmp_path / "companion.pdf"
    pdf.write_bytes(draft_of(follow_up(tmp_path)).preview_pdf)
    pages = pdftotext(pdf).split("\f")[:-1]
    assert pages
    for page in pages:
        assert page.count("NOT VERIFIED") >= 2


def test_pdf_says_what_the_structured_report_says(tmp_path: Path) -> None:
    of = follow_up(tmp_path)
    draft = draft_of(of)
    pdf = tmp_path / "companion.pdf"
    pdf.write_bytes(draft.preview_pdf)
    said = " ".join(pdftotext(pdf).split())
    for sentence in of.sentences[:-1]:
        assert " ".join(sentence.text.split()) in said
    assert draft.document(DocumentKind.SR).identity in said


def test_pdf_of_a_later_revision_says_that_it_replaces_the_earlier_draft(tmp_path: Path) -> None:
    pdf = tmp_path / "companion.pdf"
    pdf.write_bytes(draft_of(comparison(tmp_path, revision=2)).preview_pdf)
    assert "revision 2: replaces the earlier draft" in " ".join(pdftotext(pdf).split())


def test_silence_of_the_archive_is_said_in_words(tmp_path: Path) -> None:
    draft = draft_of(archive_silent(tmp_path))
    done = next(item for item in read(draft).ContentSequence if code_of(item.ConceptNameCodeSequence) == "122140")
    assert code_of(done.ConceptCodeSequence) == "373067005"
    assert "could not be asked" in done.ContentSequence[0].TextValue
    pdf = tmp_path / "companion.pdf"
    pdf.write_bytes(draft.preview_pdf)
    assert "none compared" in pdftotext(pdf)


def test_tracking_identifiers_are_there_and_differ(case: Case) -> None:
    groups = measurement_groups(case.ds)
    uids = [child(group, "112040").UID for group in groups]
    names = [child(group, "112039").TextValue for group in groups]
    assert groups
    assert len(set(uids)) == len(set(names)) == len(groups)


def test_every_group_has_a_region_on_an_image_of_the_evidence(case: Case) -> None:
    known = {case.of.current_image.header.instance_uid: case.of.current_image.header}
    if case.of.prior_image:
        known[case.of.prior_image.header.instance_uid] = case.of.prior_image.header
    for group in measurement_groups(case.ds):
        region = child(group, "111030")
        source = region.ContentSequence[0].ReferencedSOPSequence[0]
        header = known[InstanceUid(source.ReferencedSOPInstanceUID)]
        assert source.ReferencedSOPClassUID == header.sop_class_uid
        columns, rows = region.GraphicData[::2], region.GraphicData[1::2]
        assert 0 <= min(columns) < max(columns) <= (header.columns or 0)
        assert 0 <= min(rows) < max(rows) <= (header.rows or 0)


def test_draft_of_a_model_that_nobody_measured_holds_no_finding_and_no_number(tmp_path: Path) -> None:
    of = nothing_measured(tmp_path)
    draft = draft_of(of)
    (group,) = measurement_groups(read(draft))
    assert not [item for item in group.ContentSequence if item.ValueType == "NUM"]
    assert code_of(child(group, "121052").ConceptCodeSequence) == "373068000"
    pdf = tmp_path / "companion.pdf"
    pdf.write_bytes(draft.preview_pdf)
    text = dsrdump(write(draft, tmp_path)[DocumentKind.SR]) + pdftotext(pdf)
    assert not [finding for finding in of.findings if finding.entity.name in text]
    assert "never measured" in " ".join(text.split())


def test_sentences_on_findings_rest_on_groups_of_the_document(case: Case) -> None:
    tracked = {child(group, "112040").UID for group in measurement_groups(case.ds)}
    narrative = child(case.ds, "111412")
    measured = {finding.entity.index for finding in case.of.findings if finding.is_measured}
    told_of = [sentence for sentence in case.of.sentences if measured & set(sentence.entity_indices)]
    assert [item.TextValue for item in narrative.get("ContentSequence", [])] == [sentence.text for sentence in told_of]
    for item, sentence in zip(narrative.get("ContentSequence", []), told_of, strict=True):
        assert len(item.ContentSequence) == len(sentence.entity_indices)
        assert {one.UID for one in item.ContentSequence if one.ValueType == "UIDREF"} <= tracked
    assert all(sentence.text in narrative.TextValue for sentence in case.of.sentences)


def test_every_code_is_written_with_its_own_meaning(case: Case) -> None:
    kept = {(code.scheme, code.value): code.meaning for code in codes().values()}
    for item in code_items(case.ds):
        key = (item.CodingSchemeDesignator, item.CodeValue)
        meaning = kept.get(key) or OF_THE_TEMPLATES.get(key)
        assert meaning is not None, f"nobody knows {key}"
        assert item.CodeMeaning.lower() == meaning.lower()


def test_local_codes_are_identified(case: Case) -> None:
    assert [item.CodingSchemeDesignator for item in case.ds.CodingSchemeIdentificationSequence] == [LOCAL_SCHEME]
    own = {item.CodingSchemeDesignator for item in code_items(case.ds) if item.CodingSchemeDesignator.startswith("99")}
    assert own <= {LOCAL_SCHEME}


def test_language_character_set_and_offset_are_stated(case: Case) -> None:
    assert case.ds.SpecificCharacterSet == "ISO_IR 192"
    assert case.ds.TimezoneOffsetFromUTC
    assert code_of(child(case.ds, "121049").ConceptCodeSequence) == "en"


def measurement_groups(ds: Dataset) -> list[Dataset]:
    return [item for item in child(ds, "126010").ContentSequence if code_of(item.ConceptNameCodeSequence) == "125007"]


def child(item: Dataset, code: str) -> Dataset:
    found: Dataset = next(one for one in item.ContentSequence if code_of(one.ConceptNameCodeSequence) == code)
    return found


def code_of(sequence: list[Dataset]) -> str:
    value: str = sequence[0].CodeValue
    return value


def code_items(ds: Dataset) -> Iterator[Dataset]:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                if "CodeMeaning" in item:
                    yield item
                yield from code_items(item)
