"""What a model's volume input looks like: sizes from the bundle enter, an InputSpec leaves.

The published model sees a chest CT as 240 x 480 x 480 voxels of 1.5 x 0.75 x 0.75 mm, a field of 360 mm on every axis.
A bundle with a smaller input keeps that field, so its voxels are larger.
"""

from dataclasses import dataclass
from enum import StrEnum

from models.shared.volumes.errors import VolumeError, VolumeErrorCode


class Family(StrEnum):
    """The four modality families of the model."""

    CXR = "2D-CXR"
    ULTRASOUND = "2D-Ultrasound"
    CHEST_CT = "3D-CT"
    BRAIN_MRI = "3D-Brain-MRI"


CT_FIELD_MM = 360.0
CT_DEPTH, MRI_DEPTH, SIDE_PX = 240, 30, 480
CT_PAD_VALUE = -1.0
ASSUMED_CT_SPACING_MM = (3.0, 1.0, 1.0)
"""(slices, rows, columns): what the published model takes every CT to be sampled at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Size of a volume input.

    Attributes
    ----------
    family
        CHEST_CT or BRAIN_MRI.
    depth, side_px
        The input is (depth, side_px, side_px).
    pad_value
        CT: value outside the data, which are in [0, 1]. The published pipeline pads -1.
    """

    family: Family
    depth: int
    side_px: int
    pad_value: float = CT_PAD_VALUE

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        return (self.depth, self.side_px, self.side_px)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """CT: size of the input's voxels (slices, rows, columns)."""
        return (CT_FIELD_MM / self.depth, CT_FIELD_MM / self.side_px, CT_FIELD_MM / self.side_px)


def input_spec(
    modality: str, *, depth: int | None = None, side_px: int = SIDE_PX, pad_value: float = CT_PAD_VALUE
) -> InputSpec:
    """Spec of a family by its name ("3D-CT", "3D-Brain-MRI"), at the published sizes unless a bundle says others.

    Raises
    ------
    VolumeError
        wrong-modality for any other name: names are compared whole.
    """
    if modality not in {Family.CHEST_CT, Family.BRAIN_MRI}:
        raise VolumeError(VolumeErrorCode.WRONG_MODALITY)
    family = Family(modality)
    published = CT_DEPTH if family is Family.CHEST_CT else MRI_DEPTH
    return InputSpec(family=family, depth=depth or published, side_px=side_px, pad_value=pad_value)
