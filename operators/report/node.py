"""Who speaks: the node's own identity, as it stands in every object that the node writes."""

from dataclasses import dataclass
from typing import Final

from operators.domain.ids import AeTitle, derive_uid

MANUFACTURER: Final = "Interval"
MODEL_NAME: Final = "Interval comparative reading"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """The node as an observer and as a piece of equipment.

    `uid_root` is the root of all UIDs the node gives; `timezone` an IANA name; the rest as in General Equipment
    (PS3.3 C.7.5.1). `software_version` is the node's own, not the model's.
    """

    uid_root: str
    ae_title: AeTitle
    device_serial_number: str
    institution: str
    station_name: str
    software_version: str
    timezone: str

    @property
    def device_uid(self) -> str:
        """UID of this node as a device."""
        return derive_uid(self.uid_root, "node", self.device_serial_number)
