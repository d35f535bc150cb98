"""Chosen priors enter; those whose images could be had leave as studies on disk, the others with their reason."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from operators.domain.errors import TransientError
from operators.domain.ids import pseudonym
from operators.domain.messages import Image, Patient, PriorDecision, Study
from operators.priors.archive import WAITED_FOR, Archive, GoneError
from operators.priors.candidates import WantedImage
from operators.priors.files import PriorFiles, UnreadableFileError, study_of
from operators.priors.identity import Identity, compare_identity, under_own_name
from operators.priors.relevance import BY_IDENTITY, Choice, DecisionCode, withdraw

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Priors on disk, most relevant first, their images as wanted, and the decisions as they turned out."""

    priors: tuple[Study, ...]
    images: tuple[WantedImage, ...]
    decisions: tuple[PriorDecision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose priors are wanted: the current study's patient, and the identifiers that were merged with his."""

    patient: Patient
    merged: tuple[Patient, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Fetches what is not on disk yet. `archive` None: only what is on disk can be had."""

    files: PriorFiles
    archive: Archive | None
    trust_missing_issuer: bool

    def deliver(self, owner: Owner, choice: Choice, *, is_late: Callable[[], bool]) -> Delivered:
        """Return the chosen priors with their images.

        A prior that the archive no longer has, that cannot be read, or whose files name another patient, is left out
        with its reason. Raises TransientError while the archive is away or refuses us, unless it is too late to
        wait for it.
        """
        priors: list[Study] = []
        kept: list[WantedImage] = []
        decisions = choice.decisions
        for decision in [decision for decision in choice.decisions if decision.chosen]:
            wanted = [image for image in choice.images if image.study_uid == decision.study_uid]
            images, lack = self._images(wanted, is_late)
            problem = self._problem(owner, images) if images else lack
            if problem is not None:
                facts = {"prior": pseudonym(decision.study_uid), "code": problem.value}
                logger.warning("priors.left-out", extra=facts)
                decisions = withdraw(decisions, decision.study_uid, problem)
                continue
            had = {image.header.instance_uid for image in images}
            kept += [image for image in wanted if image.instance_uid in had]
            priors.append(study_of(images))
        return Delivered(priors=tuple(priors), images=tuple(kept), decisions=decisions)

    def _images(self, wanted: Sequence[WantedImage], is_late: Callable[[], bool]) -> tuple[list[Image], DecisionCode]:
        images: list[Image] = []
        lack = DecisionCode.NO_IMAGES
        for image in wanted:
            try:
                images.append(self._image(image))
            except GoneError:
                lack = DecisionCode.GONE
            except UnreadableFileError:
                lack = DecisionCode.UNREADABLE
            except TransientError as error:
                if error.code not in WAITED_FOR or not is_late():
                    raise
                return images, DecisionCode.NOT_DELIVERED
        return images, lack

    def _image(self, wanted: WantedImage) -> Image:
        path = self.files.path_of(wanted)
        if not path.is_file():
            if self.archive is None:
                raise GoneError(404)
            self.archive.fetch(wanted, path)
        return self.files.open(wanted)

    def _problem(self, owner: Owner, images: Sequence[Image]) -> DecisionCode | None:
        trust = self.trust_missing_issuer
        for image in images:
            said = under_own_name(owner.patient, owner.merged, image.header.patient, trust_missing_issuer=trust)
            identity = compare_identity(owner.patient, said, trust_missing_issuer=trust)
            if identity is not Identity.SAME:
                return BY_IDENTITY.get(identity, DecisionCode.DEMOGRAPHICS_DISAGREE)
        return None
