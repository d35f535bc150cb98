"""The one copy of DICOM-to-pixels: a file or dataset enters, a grey frame and the model's input leave."""

from models.shared.pixels.errors import PixelError, PixelErrorCode
from models.shared.pixels.frame import (
    Box,
    GreyFrame,
    model_input,
    to_image_points,
    to_model_points,
    whole_frame_box,
)
from models.shared.pixels.guard import PixelLimits
from models.shared.pixels.reading import (
    FrameValues,
    read_file_frame,
    read_file_header,
    read_file_values,
    read_frame,
    read_image_file,
)

__all__ = [
    "Box",
    "FrameValues",
    "GreyFrame",
    "PixelError",
    "PixelErrorCode",
    "PixelLimits",
    "model_input",
    "read_file_frame",
    "read_file_header",
    "read_file_values",
    "read_frame",
    "read_image_file",
    "to_image_points",
    "to_model_points",
    "whole_frame_box",
]
