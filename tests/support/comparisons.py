"""Comparisons for tests of report, deliver and notify: two real films as DX files and a few findings on them."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom import dcmread

from models.shared.codes import entity_code_names
from models.shared.vocabulary import load_vocabulary
from operators.compare.sentences import Circumstances, write_sentences
from operators.domain.headers import read_header
from operators.domain.ids import Revision
from operators.domain.messages import (
    BundleRef,
    ChangeState,
    ComparedCase,
    Comparison,
    EntityFinding,
    EntityTerm,
    Image,
    Presence,
    PriorDecision,
    PriorOutcome,
    PriorSearch,
    ReadScope,
    Region,
    SimilarCase,
    Study,
)
from tests.support.objects import dx_from_image, save

FILMS = Path(__file__).parents[2] / "deploy" / "demo" / "films"
CURRENT_FILM, PRIOR_FILM = FILMS / "3161e216.jpg", FILMS / "bb4c4038.jpg"
BUNDLE = BundleRef(
    bundle_id="medreco-cxr-0123456789ab",
    name="medreco-cxr",
    version="2026.11",
    sha256="0123456789abcdef" * 4,
    modality="2D-CXR",
)
SEARCHED_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)

_SWAPPED = {
    ChangeState.NEW: ChangeState.RESOLVED,
    ChangeState.RESOLVED: ChangeState.NEW,
    ChangeState.WORSE: ChangeState.BETTER,
    ChangeState.BETTER: ChangeState.WORSE,
}
_ENTITIES = {
    "pneumothorax": 6,
    "consolidation": 9,
    "effusion": 12,
    "ground_glass": 28,
    "atelectasis": 35,
    "lymph_nodes": 50,
}


def film_study(folder: Path, film: Path, *, seed: str, revision: int = 1, films: int = 1, **attributes: Any) -> Study:
    """Write a film as DX files of one study into `folder` and return the study; DICOM keywords win over defaults."""
    images = []
    for number in range(1, films + 1):
        given = {"InstanceNumber": str(number), **attributes}
        if number > 1:
            given["SOPInstanceUID"] = f"{dx_from_image(film, seed=seed).SOPInstanceUID[:-3]}.{number}"
        path = save(dx_from_image(film, seed=seed, **given), folder / f"{seed}-{number}.dcm")
        ds = dcmread(path, stop_before_pixels=True)
        header = read_header(ds, transfer_syntax_uid=ds.file_meta.TransferSyntaxUID)
        images.append(Image(header=header, path=path))
    first = images[0].header
    return Study(
        study_uid=first.study_uid,
        revision=Revision(revision),
        patient=first.patient,
        accession_number=first.accession_number,
        study_id=first.study_id,
        study_date=first.study_date,
        study_time=first.study_time,
        study_description=first.study_description,
        referring_physician=first.referring_physician,
        requested_procedure=first.requested_procedure,
        modalities=(first.modality,),
        body_parts=(first.body_part,),
        images=tuple(images),
    )


def entity(name: str) -> EntityTerm:
    """Entity of the chest vocabulary by a short name of ours."""
    row = load_vocabulary().entity(_ENTITIES[name])
    finding_code, site_code = entity_code_names(row.index)
    return EntityTerm(
        index=row.index,
        name=row.name,
        kind=row.kind.value,
        anatomy=row.anatomy or "",
        finding_code=finding_code,
        site_code=site_code,
        present_from=0.7,
        absent_below=0.3,
    )


def region(image: Image, box: tuple[float, float, float, float]) -> Region:
    """Region of an image; `box` is left, top, right, bottom as fractions of its width and height."""
    width, height = image.header.columns or 0, image.header.rows or 0
    return Region(
        instance_uid=image.header.instance_uid,
        sop_class_uid=image.header.sop_class_uid,
        frame_number=1,
        left_px=box[0] * width,
        top_px=box[1] * height,
        right_px=box[2] * width,
        bottom_px=box[3] * height,
    )


def presence(prob: float) -> Presence:
    """Presence by the thresholds of `entity`."""
    if prob >= 0.7:
        return Presence.PRESENT
    return Presence.ABSENT if prob < 0.3 else Presence.UNDETERMINED


def finding(
    name: str,
    current: tuple[Image, float],
    prior: tuple[Image, float] | None,
    *,
    state: ChangeState = ChangeState.UNDETERMINED,
    box: tuple[float, float, float, float] = (0.15, 0.45, 0.45, 0.85),
) -> EntityFinding:
    """Finding of an entity with its probability on either image."""
    return EntityFinding(
        entity=entity(name),
        current=presence(current[1]),
        prior=presence(prior[1]) if prior else None,
        current_prob=current[1],
        prior_prob=prior[1] if prior else None,
        similarity_cosine=0.61 if prior else None,
        state=state,
        state_swapped=_SWAPPED.get(state, state),
        confidence=0.0 if state is ChangeState.UNDETERMINED else 0.83,
        rule="presence-changed" if prior else "no-prior",
        current_region=region(current[0], box),
        prior_region=region(prior[0], (1 - box[2], box[1], 1 - box[0], box[3])) if prior else None,
    )


def comparison(
    folder: Path, *, revision: int = 1, films: int = 1, seed_of_current: str = "current", **attributes: Any
) -> Comparison:
    """Follow-up of three weeks: one finding new, one resolved, one stable, one undetermined, two seen on neither."""
    current = film_study(
        folder, CURRENT_FILM, seed=seed_of_current, revision=revision, films=films, **_follow_up(attributes)
    )
    prior = film_study(folder, PRIOR_FILM, seed="prior", **{**attributes, "AccessionNumber": "ACC-OLD"})
    now, before = current.images[0], prior.images[0]
    findings = (
        finding("pneumothorax", (now, 0.04), (before, 0.11), state=ChangeState.ABSENT),
        finding("consolidation", (now, 0.91), (before, 0.08), state=ChangeState.NEW, box=(0.12, 0.4, 0.44, 0.72)),
        finding("effusion", (now, 0.09), (before, 0.94), state=ChangeState.RESOLVED, box=(0.1, 0.6, 0.42, 0.92)),
        finding("ground_glass", (now, 0.88), (before, 0.86), state=ChangeState.STABLE, box=(0.6, 0.3, 0.88, 0.7)),
        finding("atelectasis", (now, 0.52), (before, 0.81), box=(0.55, 0.55, 0.8, 0.85)),
        finding("lymph_nodes", (now, 0.02), (before, 0.03), state=ChangeState.ABSENT),
    )
    search = PriorSearch(
        outcome=PriorOutcome.FOUND,
        decisions=(_decision(prior),),
        searched_at=SEARCHED_AT,
        sentence="One previous study was found and chosen.",
    )
    return told(_comparison(current, (prior, before), search, findings))


def comparison_without_prior(
    folder: Path, *, outcome: PriorOutcome = PriorOutcome.NONE_EXISTS, sentence: str = "", **attributes: Any
) -> Comparison:
    """First study of a patient, or one whose priors could not be asked for."""
    current = film_study(folder, CURRENT_FILM, seed="current", **_follow_up(attributes))
    now = current.images[0]
    findings = (
        finding("consolidation", (now, 0.91), None, box=(0.12, 0.4, 0.44, 0.72)),
        finding("atelectasis", (now, 0.52), None, box=(0.55, 0.55, 0.8, 0.85)),
        finding("pneumothorax", (now, 0.04), None),
    )
    search = PriorSearch(outcome=outcome, decisions=(), searched_at=SEARCHED_AT, sentence=sentence or "Asked.")
    return told(_comparison(current, None, search, findings))


def told(of: Comparison) -> Comparison:
    """Return the comparison with the sentences that the compare stage writes of it."""
    prior = (of.prior, of.prior_image) if of.prior and of.prior_image else None
    circumstances = Circumstances(
        scope=ReadScope(),
        current=(of.current, of.current_image),
        prior=prior,
        search=of.search,
        unreadable=(),
        cautions=of.cautions,
    )
    return replace(of, sentences=write_sentences(circumstances, of.findings))


def compared_case(of: Comparison, similar: tuple[SimilarCase, ...] = ()) -> ComparedCase:
    """Case that the report stage takes."""
    return ComparedCase(comparison=of, similar=similar)


def unmeasured(of: Comparison) -> Comparison:
    """Return what an imported model would make of the same images: its answers were never measured on anybody."""
    findings = tuple(
        replace(
            each,
            entity=replace(each.entity, present_from=None, absent_below=None),
            current=Presence.UNDETERMINED,
            prior=Presence.UNDETERMINED if each.prior else None,
            current_prob=None,
            prior_prob=None,
            state=ChangeState.UNDETERMINED,
            state_swapped=ChangeState.UNDETERMINED,
            confidence=0.0,
            rule="not-measured",
        )
        for each in of.findings
    )
    return told(replace(of, findings=findings))


def _follow_up(attributes: dict[str, Any]) -> dict[str, Any]:
    patient = {"PatientID": "ID-prior", "StudyDate": "20240123", "StudyTime": "081500"}
    return {**patient, "StudyDescription": "Chest PA follow-up", **attributes}


def _decision(prior: Study) -> PriorDecision:
    return PriorDecision(
        study_uid=prior.study_uid,
        study_date=prior.study_date,
        study_time=prior.study_time,
        modalities=prior.modalities,
        study_description=prior.study_description,
        accession_number=prior.accession_number,
        rank=0,
        reason_code="same-region",
        reason="same body part, most recent",
    )


def _comparison(
    current: Study,
    prior: tuple[Study, Image] | None,
    search: PriorSearch,
    findings: tuple[EntityFinding, ...],
) -> Comparison:
    return Comparison(
        current=current,
        current_image=current.images[0],
        prior=prior[0] if prior else None,
        prior_image=prior[1] if prior else None,
        search=search,
        bundle=BUNDLE,
        findings=findings,
        sentences=(),
    )
