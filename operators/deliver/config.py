"""Settings of delivery: which archives get which documents, how they are reached, and how long is waited."""

from dataclasses import dataclass, field
from pathlib import Path

from operators.domain.drafts import DocumentKind
from operators.domain.errors import ConfigError
from operators.domain.ids import AeTitle, Destination
from operators.domain.web_access import fault_of, is_web_url

DICOM_KINDS = (DocumentKind.SR, DocumentKind.TEXT, DocumentKind.PDF)
_AE_TITLE_CHARS = 16
_CALLING_AE = AeTitle("INTERVAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class StowDestination:
    """An archive with STOW-RS (PS3.18 10.5).

    Attributes
    ----------
    name
        How the destination is called on the page and in the outbox.
    url
        Root of the archive's DICOMweb services.
    stow_path
        Path of STOW-RS below the root, where the archive has it apart.
    kinds
        Which documents it gets.
    authentication
        none, basic (username, password) or bearer (token).
    client_certificate, client_key
        PEM files that identify this node by TLS; the key may be in the certificate's file.
    ca_file
        PEM file of the authorities that may vouch for the archive; None: the usual ones.
    connect_timeout_s, answer_timeout_s
        Longest wait for a connection, and for the answer to a stored document.
    """

    name: Destination
    url: str
    stow_path: str = ""
    kinds: tuple[DocumentKind, ...] = DICOM_KINDS
    authentication: str = "none"
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    client_certificate: Path | None = None
    client_key: Path | None = None
    ca_file: Path | None = None
    connect_timeout_s: float = 5.0
    answer_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Raise ConfigError for a value that cannot be meant."""
        if not is_web_url(self.url):
            raise ConfigError(f"pacs {self.name}: url must be an http or https URL")
        if fault := fault_of(self):
            raise ConfigError(f"pacs {self.name}: {fault}")
        _check(self.name, self.kinds, (self.connect_timeout_s, self.answer_timeout_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomTls:
    """TLS to a DICOM peer (PS3.15 B.9): the authority to trust (None: the usual ones), our certificate and key.

    `server_name` is the name that the peer's certificate must bear; empty: the destination's host.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigError for a key without its certificate."""
        if self.key_file and not self.certificate_file:
            raise ConfigError("pacs: key_file needs certificate_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class CStoreDestination:
    """An archive with C-STORE (PS3.4 Annex B).

    `kinds`: which documents it gets. `connect_timeout_s` is the longest wait for a connection and an association,
    `answer_timeout_s` for the answer to a stored document.
    """

    name: Destination
    host: str
    port: int
    called_ae: AeTitle
    calling_ae: AeTitle = _CALLING_AE
    kinds: tuple[DocumentKind, ...] = DICOM_KINDS
    tls: DicomTls | None = None
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Raise ConfigError for a value that cannot be meant."""
        if not self.host or not 0 < self.port < 65536:
            raise ConfigError(f"pacs {self.name}: a host and a port (1 to 65535) are needed")
        for title in (self.called_ae, self.calling_ae):
            if not title.strip() or len(title) > _AE_TITLE_CHARS or not title.isascii() or "\\" in title:
                raise ConfigError(f"pacs {self.name}: an AE title has 1 to 16 ASCII characters, no backslash")
        _check(self.name, self.kinds, (self.connect_timeout_s, self.answer_timeout_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig:
    """How patient delivery is.

    Attributes
    ----------
    first_wait_s, longest_wait_s
        Waits between attempts: doubling from the first to the longest.
    most_attempts
        Failed attempts after which an entry is parked; at the longest wait of a minute, the default is about a week.
    lease_s
        How long an entry belongs to the process that sends it without a sign of life from it.
    poll_s
        How often the outbox is looked at when nobody calls.
    """

    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    most_attempts: int = 10_000
    lease_s: float = 15.0
    poll_s: float = 1.0

    def __post_init__(self) -> None:
        """Raise ConfigError for a value that cannot be meant."""
        if min(self.first_wait_s, self.poll_s) <= 0 or self.longest_wait_s < self.first_wait_s:
            raise ConfigError("pacs.outbox: waits must be above 0, and the longest not below the first")
        if self.lease_s < 3 or self.most_attempts < 1:
            raise ConfigError("pacs.outbox: lease_s must be 3 or more, most_attempts 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverConfig:
    """The archives that get drafts; `enabled` False is shadow mode: nothing leaves."""

    enabled: bool = True
    stow: tuple[StowDestination, ...] = ()
    cstore: tuple[CStoreDestination, ...] = ()
    outbox: OutboxConfig = field(default_factory=OutboxConfig)

    def __post_init__(self) -> None:
        """Raise ConfigError when two destinations share a name."""
        names = [destination.name for destination in self.destinations]
        if len(names) != len(set(names)):
            raise ConfigError("pacs: two destinations have the same name")

    @property
    def destinations(self) -> tuple[StowDestination | CStoreDestination, ...]:
        """All destinations."""
        return (*self.stow, *self.cstore)


def _check(name: str, kinds: tuple[DocumentKind, ...], timeouts_s: tuple[float, ...]) -> None:
    if not name.strip():
        raise ConfigError("pacs: every destination needs a name")
    if not kinds or not set(kinds) <= set(DICOM_KINDS):
        raise ConfigError(f"pacs {name}: kinds must name some of {', '.join(DICOM_KINDS)}")
    if min(timeouts_s) <= 0:
        raise ConfigError(f"pacs {name}: time-outs must be above 0")
