"""One image file enters, the frame and the model's input made of it leave; pixel errors leave as errors of the tree."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.shared.pixels import GreyFrame, PixelError, PixelErrorCode, PixelLimits, model_input, read_file_frame
from operators.domain.errors import PermanentError, TransientError
from operators.domain.messages import Image
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadImage:
    """An image as displayed and as the model sees it; `model_pixels` is (S, S) float32 in [0, 1]."""

    image: Image
    frame: GreyFrame
    model_pixels: NDArray[np.float32]


def read_image(image: Image, side_px: int, max_frame_px: int) -> ReadImage:
    """Read the first frame of an image file and make the model's input of it.

    Raises
    ------
    PermanentError
        The pixels cannot be used, or the file is no longer there.
    TransientError
        The file is there and could not be read.
    """
    try:
        frame = read_file_frame(image.path, limits=PixelLimits(max_frame_px=max_frame_px))
    except PixelError as exc:
        facts = {name: value if isinstance(value, int | float) else str(value) for name, value in exc.facts.items()}
        raise PermanentError(REASON_OF_PIXEL_ERROR[exc.code], pixels=exc.code.value, **facts) from exc
    except FileNotFoundError as exc:
        raise PermanentError(ReasonCode.SPOOL_FILE_MISSING) from exc
    except OSError as exc:
        raise TransientError(ReasonCode.SPOOL_FILE_MISSING, kind=type(exc).__name__) from exc
    return ReadImage(image=image, frame=frame, model_pixels=model_input(frame, side_px))
