"""Settings of the notify stage: one entry per RIS that is told about a draft."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from operators.domain.errors import ConfigError
from operators.domain.hl7.charsets import CHARACTER_SETS, CharacterSet, fits
from operators.domain.hl7.er7 import LineBreak
from operators.domain.ids import Destination

_HOST: Final = re.compile(r"[A-Za-z0-9:_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_CODE: Final = re.compile(r"[A-Za-z0-9._-]+")


class Hl7Version(StrEnum):
    """Versions of HL7 v2 that a destination can be spoken to in."""

    V231 = "2.3.1"
    V24 = "2.4"
    V25 = "2.5"
    V251 = "2.5.1"


class ResultStatus(StrEnum):
    """OBR-25 and OBX-11. R: stored, not yet verified. P: a VERIFIED early result, for receivers that know no R."""

    R = "R"
    P = "P"


class ErrorPolicy(StrEnum):
    """What an AE or CE answer means: by its error code (table 0357), always again later, or always for an admin."""

    BY_CODE = "by-code"
    RETRY = "retry"
    PARK = "park"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """TLS to a RIS: the authority to trust (None: the system's), our certificate and key (None: without).

    `server_name` is the name that the peer's certificate must bear; empty: the destination's host.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: str = field(default="", repr=False)
    server_name: str = ""

    def __post_init__(self) -> None:
        if self.key_file is not None and self.certificate_file is None:
            raise ConfigError("a TLS key without its certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class MllpDestination:
    """One RIS and how it wants to be spoken to.

    `assigning_authority` names the issuer of patient ids that come without one. `service_*` is the universal service
    (OBR-4), our own so that no archive takes the draft for the ordered report. `ack_timeout_s` is the wait for the
    answer to one message. `keep_connection` keeps one connection for all messages, else each has its own.
    """

    name: Destination
    host: str
    port: int
    tls: TlsFiles | None = None
    keep_connection: bool = False
    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 30.0
    on_application_error: ErrorPolicy = ErrorPolicy.BY_CODE
    version: Hl7Version = Hl7Version.V251
    character_set: str = "UNICODE UTF-8"
    line_break: LineBreak = LineBreak.BR
    result_status: ResultStatus = ResultStatus.R
    processing_id: str = "P"
    sending_application: str = "INTERVAL"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    assigning_authority: str = ""
    service_code: str = "IVDRAFT"
    service_text: str = "Draft comparison with prior"
    service_scheme: str = "99INTERVAL"
    draft_notice: str = "DRAFT written by a computer, not verified by a physician."

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.name):
            raise ConfigError("notify: a destination's name may hold letters, digits, point, dash and underscore only")
        self._check_wire()
        self._check_message()

    def _check_wire(self) -> None:
        if not _HOST.fullmatch(self.host) or not 0 < self.port < 65536:
            raise ConfigError(f"notify {self.name}: a host name or address and a port (1 to 65535) are needed")
        if self.connect_timeout_s <= 0 or self.ack_timeout_s <= 0:
            raise ConfigError(f"notify {self.name}: connect_timeout_s and ack_timeout_s must be more than 0")

    def _check_message(self) -> None:
        if self.character_set not in CHARACTER_SETS:
            raise ConfigError(f"notify {self.name}: character_set must be one of {', '.join(CHARACTER_SETS)}")
        if self.processing_id not in {"P", "T", "D"}:
            raise ConfigError(f"notify {self.name}: processing_id must be P, T or D")
        if not self.sending_application or not self.draft_notice.strip():
            raise ConfigError(f"notify {self.name}: sending_application and draft_notice must not be empty")
        if not self.service_code or not self.service_scheme:
            raise ConfigError(f"notify {self.name}: service_code and service_scheme must not be empty")
        names = self.sending_application + self.sending_facility + self.receiving_application + self.receiving_facility
        own = names + self.assigning_authority + self.service_code + self.service_text + self.service_scheme
        if not fits(own + self.draft_notice, self.charset):
            raise ConfigError(f"notify {self.name}: a text of the settings does not fit into {self.character_set}")

    @property
    def charset(self) -> CharacterSet:
        """The character set by its name."""
        return CHARACTER_SETS[self.character_set]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """The destinations; `enabled` False is shadow mode: nothing leaves."""

    enabled: bool = True
    destinations: tuple[MllpDestination, ...] = ()

    def __post_init__(self) -> None:
        names = [destination.name for destination in self.destinations]
        if len(names) != len(set(names)):
            raise ConfigError("notify: two destinations have the same name")

    def warnings(self) -> tuple[str, ...]:
        """Sentences to log at start: what is allowed but unwise."""
        return tuple(
            f"notify {destination.name}: result_status P tells the RIS that a draft is a verified early result; "
            "some archives then store it as VERIFIED. Use R unless the receiver cannot take it."
            for destination in self.destinations
            if destination.result_status is ResultStatus.P
        )
