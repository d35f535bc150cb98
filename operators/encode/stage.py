"""A case with priors enters; its images, each encoded once and read for every entity the bundle serves, leave."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.encoder.engine import EncoderModel, EngineError, EngineFailureError, EntityReadings, FloatArray
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import StudyUid, pseudonym
from operators.domain.messages import BundleRef, CaseWithPriors, EncodedCase, EncodedStudy, Study
from operators.domain.radiograph import Projection, projection_of
from operators.domain.reasons import ReasonCode
from operators.encode.config import EncodeConfig
from operators.encode.reading import ReadImage, read_image
from operators.encode.readings import entity_terms, readings_of
from operators.encode.views import Skipped, choose_views

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedStudy:
    """A study, the image of it that was read, and the images that were not."""

    study: Study
    read: ReadImage
    skipped: Skipped


class EncodeStage:
    """Reads the current study and its priors with one encoder.

    An image of the current study that cannot be read stops the case; a prior that cannot is left out with its reason.
    Raises ConfigError(BUNDLE_UNUSABLE) when the bundle serves an entity that has no codes.
    """

    def __init__(self, model: EncoderModel, config: EncodeConfig) -> None:
        self._model = model
        self._encoder = model.family(model.info.families[0].modality)
        self._config = config
        self._terms = entity_terms(self._encoder.info)

    def __call__(self, case: CaseWithPriors) -> EncodedCase:
        """Encode the case. Raises PermanentError, TransientError."""
        current = self._open(case.current)
        priors, unreadable = self._open_priors(case.priors, projection_of(current.read.image.header))
        opened = (current, *priors)
        tokens, readings = self._run_model(opened)
        encoded = tuple(self._encoded(study, tokens[row], readings, row) for row, study in enumerate(opened))
        logger.info(
            "encode.done",
            extra={
                "study": pseudonym(case.current.study_uid),
                "images": len(opened),
                "entities": len(self._terms),
                "unreadable_priors": len(unreadable),
                "skipped": sorted(reason.value for _, reason in current.skipped),
            },
        )
        return EncodedCase(
            current=encoded[0],
            priors=encoded[1:],
            search=case.search,
            bundle=self._bundle(),
            unreadable_priors=unreadable,
        )

    def _open(self, study: Study, prefer: Projection | None = None) -> OpenedStudy:
        """Read the best image that can be read. Raises the error of the best one when none can."""
        choice = choose_views(study, self._encoder.info.dicom_modalities, prefer=prefer)
        if not choice.candidates:
            raise PermanentError(choice.why_none, images=len(study.images))
        failures: list[PermanentError] = []
        skipped = list(choice.skipped)
        for position, image in enumerate(choice.candidates):
            try:
                read = read_image(image, self._encoder.info.input_side_px, self._config.max_frame_px)
            except PermanentError as error:
                failures.append(error)
                skipped.append((image.header.instance_uid, error.code))
                continue
            rest = choice.candidates[position + 1 :]
            skipped.extend((other.header.instance_uid, ReasonCode.OTHER_IMAGE_READ) for other in rest)
            return OpenedStudy(study=study, read=read, skipped=tuple(skipped))
        raise failures[0]

    def _open_priors(
        self, priors: Sequence[Study], prefer: Projection
    ) -> tuple[tuple[OpenedStudy, ...], tuple[tuple[StudyUid, ReasonCode], ...]]:
        opened: list[OpenedStudy] = []
        unreadable: list[tuple[StudyUid, ReasonCode]] = []
        for prior in priors:
            try:
                opened.append(self._open(prior, prefer))
            except PermanentError as error:
                unreadable.append((prior.study_uid, error.code))
                logger.warning(
                    "encode.prior_unreadable",
                    extra={"prior": pseudonym(prior.study_uid), "code": error.code.value, "reason": error.sentence},
                )
        return tuple(opened), tuple(unreadable)

    def _run_model(self, opened: Sequence[OpenedStudy]) -> tuple[FloatArray, EntityReadings]:
        """Encode every image once, in batches, then read all entities of all images in one pass."""
        images = np.stack([study.read.model_pixels for study in opened])
        step = self._config.batch_images
        try:
            tokens = np.concatenate(
                [self._encoder.encode(images[start : start + step]) for start in range(0, len(images), step)]
            )
            return tokens, self._encoder.read(tokens, [term.index for term in self._terms])
        except EngineFailureError as exc:
            raise TransientError(ReasonCode.BUNDLE_UNUSABLE, kind=type(exc).__name__) from exc
        except EngineError as exc:
            raise PermanentError(ReasonCode.BUNDLE_UNUSABLE, kind=type(exc).__name__) from exc

    def _encoded(self, opened: OpenedStudy, tokens: FloatArray, readings: EntityReadings, row: int) -> EncodedStudy:
        return EncodedStudy(
            study=opened.study,
            image=opened.read.image,
            tokens=tokens,
            readings=readings_of(opened.read, self._terms, readings, row, self._config.evidence_mass_share),
            skipped=opened.skipped,
        )

    def _bundle(self) -> BundleRef:
        info = self._model.info
        return BundleRef(
            bundle_id=info.bundle_id,
            name=info.name,
            version=info.version,
            sha256=info.bundle_sha256,
            modality=self._encoder.info.modality,
        )
