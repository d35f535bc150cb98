"""Procedure reported (PS3.16 TID 1500): the modality of the image that was read enters, its code's name leaves.

TID 1500 takes the procedure from CID 100, and validators hold documents to it. The group has procedures of an
unspecified body region for few modalities and none for ultrasound; what was imaged stands with each finding's site.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ANY_IMAGING: Final = "procedure_imaging"

# LOINC 43468-8 for radiography came to CID 100 after 2019: readers of older editions know only "Imaging procedure".
# Brain MRI (LOINC 24590-2) and the ultrasound reports of LOINC are of other groups (CID 646, CID 12320).
PROCEDURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CR": ANY_IMAGING,
        "DX": ANY_IMAGING,
        "RG": ANY_IMAGING,
        "CT": "procedure_ct",
        "MR": "procedure_mr",
        "US": ANY_IMAGING,
    }
)
"""Modality (0008,0060) to the name of a code in models/shared/codes.csv."""


def procedure_reported(modality: str) -> str:
    """Return the name of the code of the procedure that made an image of this modality."""
    return PROCEDURES.get(modality, ANY_IMAGING)
