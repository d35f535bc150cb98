"""What can be read of a study as one input, and what reading it gives: the seam between choosing, reading and encoding.

A reader of one kind of images (films, stills, volumes) takes a study and gives a Choice; a Candidate of it gives, when
it is read, the model's input and the way back from the model's plane to the image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.encoder.evidence import EvidenceRegion
from models.shared.pixels import PixelError, PixelErrorCode
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import InstanceUid
from operators.domain.messages import Image, ReadScope, Region, Study
from operators.domain.reasons import ReasonCode

REASON_OF_PIXEL_ERROR: Mapping[PixelErrorCode, ReasonCode] = {
    PixelErrorCode.NOT_DICOM: ReasonCode.DECODE_FAILED,
    PixelErrorCode.NOT_AN_IMAGE: ReasonCode.DECODE_FAILED,
    PixelErrorCode.NO_PIXELS: ReasonCode.NO_PIXELS,
    PixelErrorCode.BAD_HEADER: ReasonCode.DECODE_FAILED,
    PixelErrorCode.ABSURD_SIZE: ReasonCode.ABSURD_SIZE,
    PixelErrorCode.NO_SUCH_FRAME: ReasonCode.TRUNCATED,
    PixelErrorCode.UNSUPPORTED_TRANSFER_SYNTAX: ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX,
    PixelErrorCode.UNSUPPORTED_PHOTOMETRIC: ReasonCode.DECODE_FAILED,
    PixelErrorCode.TRUNCATED: ReasonCode.TRUNCATED,
    PixelErrorCode.DECODE_FAILED: ReasonCode.DECODE_FAILED,
}

Skipped = tuple[tuple[InstanceUid, ReasonCode], ...]


class Place(Protocol):
    """Where the model's plane lies on the images it was made of."""

    def region(self, evidence: EvidenceRegion) -> Region:
        """Return where a region of the model's plane lies on one image."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """What stands for the model's input on paper, without its pixels.

    `image` is what is shown and referred to: the image that was read or, of a volume, one of its slices.
    """

    image: Image
    scope: ReadScope
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadInput:
    """The model's input, float32 of the family's input shape: of a CT more than 200 MB, so it is not held for long."""

    shown: Shown
    model_input: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """Images that can be read as one input. `read` raises PermanentError and TransientError."""

    images: tuple[Image, ...]
    read: Callable[[], ReadInput]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """What can be read of a study, best first, and the images that are left out with the reason for each.

    `why_none` says, for the study as a whole, why there is no candidate.
    """

    candidates: tuple[Candidate, ...]
    skipped: Skipped
    why_none: ReasonCode = ReasonCode.NO_READABLE_VIEW


class Reader(Protocol):
    """Chooses what is read of a study, for one family."""

    def choose(self, study: Study, like: Shown | None) -> Choice:
        """Sort the study's images; of a prior, what is most `like` the current study's input comes first.

        Raises PermanentError, TransientError.
        """
        ...


def is_foreign(reasons: Sequence[ReasonCode]) -> bool:
    """Whether everything was left out for being of another modality or body part."""
    return set(reasons) <= {ReasonCode.MODALITY_NOT_SERVED}


@contextmanager
def file_errors() -> Iterator[None]:
    """Turn what reading an image file raises into errors of the tree."""
    try:
        yield
    except PixelError as exc:
        raise PermanentError(REASON_OF_PIXEL_ERROR[exc.code], pixels=exc.code.value, **plain_facts(exc.facts)) from exc
    except FileNotFoundError as exc:
        raise PermanentError(ReasonCode.SPOOL_FILE_MISSING) from exc
    except OSError as exc:
        raise TransientError(ReasonCode.SPOOL_FILE_MISSING, kind=type(exc).__name__) from exc


def plain_facts(facts: Mapping[str, object]) -> dict[str, int | float | str]:
    """Return facts of an error of the models as facts of an error of the node."""
    return {name: value if isinstance(value, int | float) else str(value) for name, value in facts.items()}
