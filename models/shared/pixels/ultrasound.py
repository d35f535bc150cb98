"""Which frames of an ultrasound study the model reads: facts of its images enter, one frame an image leaves.

A still image gives its frame. A clip gives its middle frame: sweeps and loops begin and end on the way to what they
show. The frame goes to the model whole (`ultrasound_input`): the published model saw margins, scales and burnt-in text
as they are, and cutting them off would change the geometry that it learnt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from models.shared.pixels.frame import FloatImage, GreyFrame, model_input


class FrameLeftOut(StrEnum):
    """Why an image of a study gives no frame."""

    OTHER_MODALITY = "other-modality"
    NOT_AN_ULTRASOUND_IMAGE = "not-an-ultrasound-image"


@dataclass(frozen=True, slots=True, kw_only=True)
class UltrasoundFacts:
    """One image of a study, by its header. `image_type`: values of Image Type, upper case."""

    instance_uid: str
    sop_class_uid: str
    modality: str
    frames: int = 1
    image_type: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenFrame:
    """The frame that speaks for an image; `frame_index` is 0-based. `of_frames` above 1: it was picked from a clip."""

    instance_uid: str
    frame_index: int
    of_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChoice:
    """Frames in the order of the images, and the images that give none with the reason for each."""

    frames: tuple[ChosenFrame, ...]
    left_out: tuple[tuple[str, FrameLeftOut], ...]


def middle_frame(frames: int) -> int:
    """0-based index of the frame that speaks for a clip of `frames` frames."""
    return max(frames - 1, 0) // 2


def choose_frames(images: Iterable[UltrasoundFacts]) -> FrameChoice:
    """Choose one frame of every ultrasound image; report pages and captures of other SOP classes are left out."""
    frames: list[ChosenFrame] = []
    left_out: list[tuple[str, FrameLeftOut]] = []
    for image in images:
        why = _reason(image)
        if why is not None:
            left_out.append((image.instance_uid, why))
            continue
        frames.append(
            ChosenFrame(
                instance_uid=image.instance_uid,
                frame_index=middle_frame(image.frames),
                of_frames=max(image.frames, 1),
            )
        )
    return FrameChoice(frames=tuple(frames), left_out=tuple(left_out))


def _reason(image: UltrasoundFacts) -> FrameLeftOut | None:
    if image.modality != "US":
        return FrameLeftOut.OTHER_MODALITY
    is_image = image.sop_class_uid in {UltrasoundImageStorage, UltrasoundMultiFrameImageStorage}
    return None if is_image and "SECONDARY" not in image.image_type else FrameLeftOut.NOT_AN_ULTRASOUND_IMAGE


def ultrasound_input(frame: GreyFrame, side_px: int) -> FloatImage:
    """Make the model's input (side_px, side_px) float32 in [0, 1] of the whole frame, margins included."""
    return model_input(frame, side_px, crop=False)
