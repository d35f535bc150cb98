"""One frame of an image file enters; the model's 2D input made of it, and the way back to its pixels, leave."""

from dataclasses import dataclass

from models.encoder.evidence import EvidenceRegion
from models.shared.pixels import GreyFrame, PixelLimits, model_input, read_file_frame, to_image_points
from operators.domain.messages import Image, ReadScope, Region
from operators.encode.reading import ReadInput, Shown, file_errors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FramePlace:
    """The model's plane is the content box of one frame."""

    image: Image
    frame: GreyFrame
    frame_number: int

    def region(self, evidence: EvidenceRegion) -> Region:
        """Return the evidence's box in the frame's own pixels."""
        corners = [(evidence.x, evidence.y), (evidence.x + evidence.width, evidence.y + evidence.height)]
        (left_px, top_px), (right_px, bottom_px) = to_image_points(corners, self.frame)
        return Region(
            instance_uid=self.image.header.instance_uid,
            sop_class_uid=self.image.header.sop_class_uid,
            frame_number=self.frame_number,
            left_px=float(left_px),
            top_px=float(top_px),
            right_px=float(right_px),
            bottom_px=float(bottom_px),
        )


def read_plane(image: Image, frame_number: int, side_px: int, max_frame_px: int) -> ReadInput:
    """Read one frame, counted from 1, and make the model's input (S, S) of it.

    Raises
    ------
    PermanentError
        The pixels cannot be used, or the file is no longer there.
    TransientError
        The file is there and could not be read.
    """
    with file_errors():
        frame = read_file_frame(image.path, frame_number - 1, limits=PixelLimits(max_frame_px=max_frame_px))
    place = FramePlace(image=image, frame=frame, frame_number=frame_number)
    shown = Shown(image=image, scope=ReadScope(frame_number=frame_number), place=place)
    return ReadInput(shown=shown, model_input=model_input(frame, side_px))
