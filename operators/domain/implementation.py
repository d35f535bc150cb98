"""Who wrote a DICOM file: the implementation class UID and version name of this node (PS3.7 D.3.3.2)."""

from typing import Final

from operators.domain.ids import UUID_ROOT, derive_uid

IMPLEMENTATION_CLASS_UID: Final = derive_uid(UUID_ROOT, "interval", "implementation")
IMPLEMENTATION_VERSION_NAME: Final = "INTERVAL"
