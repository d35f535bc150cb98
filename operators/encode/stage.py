"""A case with priors enters; what was read of its studies, each encoded once and read for every entity, leaves.

One family of the bundle speaks for a case: the first, in the bundle's order, that can read something of the current
study. Priors are read by the same family, and as far as they offer it from the same kind of images.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from models.encoder.engine import (
    EncoderModel,
    EngineError,
    EngineFailureError,
    EntityReadings,
    FamilyInfo,
    FloatArray,
)
from models.shared.bundle_files import BundleError
from operators.domain.errors import NodeError, PermanentError, TransientError
from operators.domain.ids import StudyUid, pseudonym
from operators.domain.messages import (
    BundleRef,
    CaseWithPriors,
    EncodedCase,
    EncodedStudy,
    EntityTerm,
    Study,
)
from operators.domain.reasons import ReasonCode
from operators.encode.batches import TokenMaker
from operators.encode.config import EncodeConfig
from operators.encode.films import FilmReader
from operators.encode.reading import Candidate, Choice, Reader, ReadInput, Shown, Skipped
from operators.encode.readings import entity_terms, readings_of
from operators.encode.stills import StillReader
from operators.encode.volumes import VolumeReader

logger = logging.getLogger(__name__)

ULTRASOUND = "2D-Ultrasound"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedStudy:
    """A study whose input has gone to the encoder: what was read of it, and the images that were not."""

    study: Study
    shown: Shown
    skipped: Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFamily:
    """One family of the bundle with its reader and the terms of its entities.

    `turn` is held while a volume is read and encoded: two at once would need twice the memory and gain nothing.
    """

    info: FamilyInfo
    reader: Reader
    terms: tuple[EntityTerm, ...]
    turn: AbstractContextManager[object]

    def takes(self, study: Study) -> bool:
        """Whether an image of the study is of a modality that the family takes."""
        return any(image.header.modality in self.info.dicom_modalities for image in study.images)


class EncodeStage:
    """Reads the current study and its priors with the family of the bundle that the current study is for.

    A current study of which nothing can be read stops the case; a prior that cannot be is left out with its reason.
    Raises ConfigError(BUNDLE_UNUSABLE) when the bundle serves an entity that has no codes.
    """

    def __init__(self, model: EncoderModel, config: EncodeConfig) -> None:
        self.model = model
        self._config = config
        volumes = threading.Lock()
        self._families = tuple(
            ServedFamily(
                info=family,
                reader=reader_of(family, config.max_frame_px),
                terms=entity_terms(family),
                turn=volumes if family.input_depth > 1 else nullcontext(),
            )
            for family in model.info.families
        )

    def __call__(self, case: CaseWithPriors) -> EncodedCase:
        """Encode the case. Raises PermanentError, TransientError."""
        family, maker, current = self._take_current(case.current)
        opened = [current]
        unreadable: list[tuple[StudyUid, ReasonCode]] = []
        for prior in case.priors:
            try:
                opened.append(self._take(prior, family, current.shown, maker))
            except PermanentError as error:
                if error.code is ReasonCode.BUNDLE_UNUSABLE:
                    raise
                unreadable.append((prior.study_uid, error.code))
                _log_unreadable(prior, error)
        tokens, readings = self._run_model(maker, family)
        encoded = tuple(self._encoded(study, family, tokens, readings, row) for row, study in enumerate(opened))
        self._log(case, family, opened, unreadable)
        return EncodedCase(
            current=encoded[0],
            priors=encoded[1:],
            search=case.search,
            bundle=self.bundle(family.info.modality),
            unreadable_priors=tuple(unreadable),
        )

    def bundle(self, modality: str) -> BundleRef:
        """Return how the bundle is named where one of its families spoke."""
        info = self.model.info
        return BundleRef(
            bundle_id=info.bundle_id,
            name=info.name,
            version=info.version,
            sha256=info.bundle_sha256,
            modality=modality,
        )

    def _take_current(self, study: Study) -> tuple[ServedFamily, TokenMaker, OpenedStudy]:
        """Read the study with the first family that can. Raises the error of the first that takes its modality."""
        errors: list[PermanentError] = []
        for family in self._families:
            if not family.takes(study):
                continue
            with engine_errors():
                maker = TokenMaker(self.model.family(family.info.modality), self._config.batch_images)
            try:
                return family, maker, self._take(study, family, None, maker)
            except PermanentError as error:
                errors.append(error)
        nearer = [error for error in errors if error.code is not ReasonCode.MODALITY_NOT_SERVED]
        raise next(iter((*nearer, *errors)), PermanentError(ReasonCode.MODALITY_NOT_SERVED, images=len(study.images)))

    def _take(self, study: Study, family: ServedFamily, like: Shown | None, maker: TokenMaker) -> OpenedStudy:
        """Read a study and hand its input to the encoder; nothing of the input is held afterwards."""
        with family.turn:
            read, skipped = self._open(study, family, like)
            with engine_errors():
                maker.add(read.model_input)
        return OpenedStudy(study=study, shown=read.shown, skipped=skipped)

    def _open(self, study: Study, family: ServedFamily, like: Shown | None) -> tuple[ReadInput, Skipped]:
        """Read the best that can be read of a study. Raises the error of the best candidate when none can."""
        if like is not None and not family.takes(study):
            is_foreign = not any(other.takes(study) for other in self._families)
            raise PermanentError(ReasonCode.MODALITY_NOT_SERVED if is_foreign else ReasonCode.OTHER_FAMILY)
        choice = family.reader.choose(study, like)
        if not choice.candidates:
            raise PermanentError(choice.why_none, images=len(study.images))
        failures: list[PermanentError] = []
        for position, candidate in enumerate(choice.candidates):
            try:
                read = candidate.read()
            except PermanentError as error:
                failures.append(error)
            else:
                return read, _skipped(choice, failures, choice.candidates[position + 1 :], family.info)
        raise failures[0]

    def _run_model(self, maker: TokenMaker, family: ServedFamily) -> tuple[FloatArray, EntityReadings]:
        """Encode what still waits, then read all entities of all studies in one pass."""
        with engine_errors():
            tokens = maker.tokens()
            return tokens, maker.encoder.read(tokens, [term.index for term in family.terms])

    def _encoded(
        self, opened: OpenedStudy, family: ServedFamily, tokens: FloatArray, readings: EntityReadings, row: int
    ) -> EncodedStudy:
        return EncodedStudy(
            study=opened.study,
            image=opened.shown.image,
            tokens=tokens[row],
            readings=readings_of(opened.shown.place, family.terms, readings, row, self._config.evidence_mass_share),
            skipped=opened.skipped,
            scope=opened.shown.scope,
        )

    def _log(
        self,
        case: CaseWithPriors,
        family: ServedFamily,
        opened: Sequence[OpenedStudy],
        unreadable: Sequence[tuple[StudyUid, ReasonCode]],
    ) -> None:
        facts = {
            "study": pseudonym(case.current.study_uid),
            "family": family.info.modality,
            "inputs": len(opened),
            "slices": opened[0].shown.scope.slices,
            "entities": len(family.terms),
            "unreadable_priors": len(unreadable),
            "skipped": sorted({reason.value for _, reason in opened[0].skipped}),
        }
        logger.info("encode.done", extra=facts)


def reader_of(family: FamilyInfo, max_frame_px: int) -> Reader:
    """Return what chooses and reads the images of a family."""
    if family.input_depth > 1:
        return VolumeReader(family, max_frame_px)
    if family.modality == ULTRASOUND:
        return StillReader(family, max_frame_px)
    return FilmReader(family, max_frame_px)


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn what an engine raises into errors of the tree."""
    try:
        yield
    except EngineFailureError as exc:
        raise TransientError(ReasonCode.BUNDLE_UNUSABLE, kind=type(exc).__name__) from exc
    except (EngineError, BundleError) as exc:
        raise PermanentError(ReasonCode.BUNDLE_UNUSABLE, kind=type(exc).__name__) from exc


def _skipped(
    choice: Choice, failures: Sequence[PermanentError], rest: Sequence[Candidate], family: FamilyInfo
) -> Skipped:
    """Return every image that was left out: by the choice, for what reading it raised, or for a better one."""
    failed = (
        (image.header.instance_uid, error.code)
        for error, candidate in zip(failures, choice.candidates, strict=False)
        for image in candidate.images
    )
    better = ReasonCode.OTHER_IMAGE_READ if family.input_depth == 1 else ReasonCode.OTHER_SERIES_READ
    passed_over = ((image.header.instance_uid, better) for candidate in rest for image in candidate.images)
    return (*choice.skipped, *failed, *passed_over)


def _log_unreadable(prior: Study, error: NodeError) -> None:
    facts = {"prior": pseudonym(prior.study_uid), "code": error.code.value, "reason": error.sentence}
    logger.warning("encode.prior_unreadable", extra=facts)
