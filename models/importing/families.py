"""A modality enters; what the published model takes of it leaves: its expert, the objects it reads, depth, padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from models.shared.vocabulary import load_vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRecipe:
    """One modality family as it is imported.

    `input_depth` is the number of slices of the input, 1 for a plain image; `pad_value` what lies outside the image;
    `format` says in the words of a MONAI bundle what a value of the input means.
    """

    modality: str
    dicom_modalities: tuple[str, ...]
    input_depth: int
    pad_value: float
    format: str

    @property
    def router(self) -> int:
        """Expert of the modality in every layer."""
        return load_vocabulary().router_index[self.modality]

    @property
    def folder(self) -> str:
        """Name of its folder in a bundle."""
        return self.modality.lower()


FAMILIES: Final[Mapping[str, FamilyRecipe]] = MappingProxyType(
    {
        recipe.modality: recipe
        for recipe in (
            FamilyRecipe(
                modality="2D-CXR",
                dicom_modalities=("CR", "DX"),
                input_depth=1,
                pad_value=0.0,
                format="luminance, bright is dense",
            ),
            FamilyRecipe(
                modality="3D-CT",
                dicom_modalities=("CT",),
                input_depth=240,
                pad_value=-1.0,
                format="-1000 to 1000 HU mapped to 0 to 1, outside the volume -1; 1.5 x 0.75 x 0.75 mm",
            ),
            FamilyRecipe(
                modality="3D-Brain-MRI",
                dicom_modalities=("MR",),
                input_depth=30,
                pad_value=0.0,
                format="1st to 99th percentile of the positive voxels mapped to 0 to 1",
            ),
            FamilyRecipe(
                modality="2D-Ultrasound",
                dicom_modalities=("US",),
                input_depth=1,
                pad_value=0.0,
                format="luminance",
            ),
        )
    }
)
