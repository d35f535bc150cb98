"""Why files give no volume: one error class with a stable code and facts, never patient data.

ValueError
    VolumeError         code: VolumeErrorCode, facts: numbers, keywords and UIDs of the standard only
"""

from collections.abc import Mapping
from enum import StrEnum


class VolumeErrorCode(StrEnum):
    """Stable codes; a parked study carries one of them as its reason."""

    NO_SLICES = "no-slices"
    NO_GEOMETRY = "no-geometry"
    TOO_FEW_SLICES = "too-few-slices"
    GAP_TOO_LARGE = "gap-too-large"
    TOO_MANY_MISSING = "too-many-missing"
    TILT_TOO_LARGE = "tilt-too-large"
    SKEWED_AXES = "skewed-axes"
    NOT_HOUNSFIELD = "not-hounsfield"
    ABSURD_SIZE = "absurd-size"
    NOT_NIFTI = "not-nifti"
    DAMAGED_NIFTI = "damaged-nifti"
    BAD_SHAPE = "bad-shape"
    NOT_FINITE = "not-finite"
    WRONG_MODALITY = "wrong-modality"


_SENTENCES: Mapping[VolumeErrorCode, str] = {
    VolumeErrorCode.NO_SLICES: "The series holds no slice whose pixels can be read.",
    VolumeErrorCode.NO_GEOMETRY: "The slices do not say where they lie in the patient.",
    VolumeErrorCode.TOO_FEW_SLICES: "The series has fewer slices at different places than a volume needs.",
    VolumeErrorCode.GAP_TOO_LARGE: "Slices are missing and the gap is too large to be interpolated.",
    VolumeErrorCode.TOO_MANY_MISSING: "Too large a share of the slices is missing.",
    VolumeErrorCode.TILT_TOO_LARGE: "The slices are shifted against each other by more than a gantry tilt explains.",
    VolumeErrorCode.SKEWED_AXES: "The axes of the volume are not at right angles.",
    VolumeErrorCode.NOT_HOUNSFIELD: "The values of the CT are not Hounsfield units.",
    VolumeErrorCode.ABSURD_SIZE: "The volume is larger than the limit.",
    VolumeErrorCode.NOT_NIFTI: "The file is not a NIfTI image.",
    VolumeErrorCode.DAMAGED_NIFTI: "The NIfTI image is damaged or ends early.",
    VolumeErrorCode.BAD_SHAPE: "The image is not a volume of three axes.",
    VolumeErrorCode.NOT_FINITE: "The volume holds values that are not numbers.",
    VolumeErrorCode.WRONG_MODALITY: "The modality is not one that this input is made for.",
}


class VolumeError(ValueError):
    """Slices or a file that cannot be used as a volume.

    Parameters
    ----------
    code
        What is wrong, from a closed list.
    facts
        Keyed facts about geometry and encoding (sizes, distances in mm, keywords); never a patient's data.
    """

    def __init__(self, code: VolumeErrorCode, **facts: object) -> None:
        self.code = code
        self.facts = facts
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """Say what is wrong in one sentence, with the facts in brackets."""
        detail = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{_SENTENCES[self.code]} ({detail})" if detail else _SENTENCES[self.code]
