"""Every entity of each modality in one draft, before other people's validators: codes, sites, procedure and words."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from models.shared.codes import code, entity_code_names
from models.shared.vocabulary import Entity, load_vocabulary
from operators.domain.drafts import DocumentKind
from operators.domain.messages import Comparison, EntityFinding, EntityTerm, Image
from tests.support.comparisons import comparison_without_prior, told
from tests.support.drafts import draft_of
from tests.support.judges import dciodvfy, dsrdump, pixelmed_sr
from tests.support.peers import require

pytestmark = pytest.mark.peer

FAMILIES = {"2D-CXR": "DX", "3D-CT": "CT", "3D-Brain-MRI": "MR", "2D-Ultrasound": "US"}
PROCEDURES = {
    "2D-CXR": "procedure_imaging",
    "3D-CT": "procedure_ct",
    "3D-Brain-MRI": "procedure_mr",
    "2D-Ultrasound": "procedure_imaging",
}


@dataclass(frozen=True)
class Report:
    """The structured report in which every entity of a family is found."""

    family: str
    path: Path

    @property
    def ds(self) -> Dataset:
        return dcmread(self.path)


@pytest.fixture(scope="module", params=FAMILIES)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("family")
    path = folder / "report.dcm"
    path.write_bytes(draft_of(all_present(folder, request.param)).document(DocumentKind.SR).content)
    return Report(family=request.param, path=path)


def term_of(entity: Entity) -> EntityTerm:
    finding_code, site_code = entity_code_names(entity.index)
    return EntityTerm(
        index=entity.index,
        name=entity.name,
        kind=entity.kind.value,
        anatomy=entity.anatomy or "",
        finding_code=finding_code,
        site_code=site_code,
        present_from=0.7,
        absent_below=0.3,
    )


def all_present(folder: Path, family: str, *, step: int = 1) -> Comparison:
    """Make a comparison that finds every entity of a family, or every `step`th of them.

    Its image is a film that calls itself of the modality.
    """
    of = comparison_without_prior(folder)
    found = next(finding for finding in of.findings if finding.current == "present")
    findings = tuple(replace(found, entity=term_of(each)) for each in load_vocabulary().of_modality(family)[::step])
    images = tuple(_of_modality(image, FAMILIES[family]) for image in of.current.images)
    current = replace(of.current, images=images, modalities=(FAMILIES[family],))
    return told(replace(of, current=current, current_image=images[0], findings=_distinct(findings)))


def _of_modality(image: Image, modality: str) -> Image:
    return replace(image, header=replace(image.header, modality=modality))


def _distinct(findings: tuple[EntityFinding, ...]) -> tuple[EntityFinding, ...]:
    return tuple(replace(finding, current_prob=0.8 + 0.001 * n) for n, finding in enumerate(findings))


def groups_of(ds: Dataset) -> Iterator[Dataset]:
    """Measurement groups (125007) of a report."""
    measured = next(item for item in ds.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010")
    yield from measured.ContentSequence


def said(group: Dataset, concept: str) -> tuple[str, str]:
    """Scheme and value of the code that a group gives for a concept."""
    item = next(child for child in group.ContentSequence if child.ConceptNameCodeSequence[0].CodeValue == concept)
    value = item.ConceptCodeSequence[0]
    return value.CodingSchemeDesignator, value.CodeValue


def test_report_of_a_whole_family_passes_the_judges(report: Report) -> None:
    require("dciodvfy", "dsrdump")
    assert dciodvfy(report.path) == []
    assert "Imaging Measurement Report" in dsrdump(report.path)


@pytest.mark.parametrize("family", FAMILIES)
def test_pixelmed_finds_no_error_in_a_report_of_each_modality(family: str, tmp_path: Path) -> None:
    require("java", "pixelmed.jar")
    path = tmp_path / "report.dcm"  # of a few entities: this judge takes a second and more for each
    path.write_bytes(draft_of(all_present(tmp_path, family, step=9)).document(DocumentKind.SR).content)
    assert pixelmed_sr(path) == []


def test_report_codes_every_entity_of_a_family(report: Report) -> None:
    written = sorted((said(group, "121071"), said(group, "363698007")) for group in groups_of(report.ds))
    expected = sorted(
        tuple((code(name).scheme, code(name).value) for name in entity_code_names(entity.index))
        for entity in load_vocabulary().of_modality(report.family)
    )
    assert written == expected


def test_report_names_the_procedure_of_its_modality(report: Report) -> None:
    item = next(each for each in report.ds.ContentSequence if each.ConceptNameCodeSequence[0].CodeValue == "121058")
    assert item.ConceptCodeSequence[0].CodeValue == code(PROCEDURES[report.family]).value
