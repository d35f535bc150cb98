"""Settings of the receive stage."""

from dataclasses import dataclass, field

from operators.domain.errors import ConfigError
from operators.domain.tls_config import TlsConfig

ANY_AE = "*"
_MOST_ASSOCIATIONS = 200  # one process may hold them all, and select() knows 1024 descriptors
_AE_MAX_CHARS = 16  # PS3.5 table 6.2-1, VR AE


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolConfig:
    """How long files are kept and how much disk must stay free.

    Files of finished studies are removed `keep_days` days after their last revision ended; sooner, oldest first, while
    less than `purge_below_mib` MiB are free. With less than `refuse_below_mib` MiB free nothing more is accepted.
    `sweep_every_s` is how often that is looked after.
    """

    keep_days: float = 14.0
    purge_below_mib: int = 4096
    refuse_below_mib: int = 1024
    sweep_every_s: float = 60.0

    def __post_init__(self) -> None:
        if self.keep_days < 0 or self.sweep_every_s <= 0:
            raise ConfigError("receive.spool: keep_days must not be below 0, sweep_every_s must be above 0")
        if not 0 <= self.refuse_below_mib <= self.purge_below_mib:
            raise ConfigError("receive.spool: refuse_below_mib must lie between 0 and purge_below_mib")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveConfig:
    """The C-STORE listener.

    `calling_ae_titles` names who may connect, () is anybody; `called_ae_titles` names by what titles besides
    `ae_title` the node may be called, ("*",) is any. `processes` listen on one port; together they hold at most
    `maximum_associations`. `maximum_pdu_bytes` is the PDU length that peers are told. `network_timeout_s` ends an idle
    association, `negotiation_timeout_s` one that does not get started. At the end open associations are given
    `stop_within_s`. `port` 0 lets the system choose.
    """

    ae_title: str = "INTERVAL"
    bind: str = "127.0.0.1"
    port: int = 11112
    calling_ae_titles: tuple[str, ...] = ()
    called_ae_titles: tuple[str, ...] = ()
    processes: int = 2
    maximum_associations: int = 64
    maximum_pdu_bytes: int = 131_072
    network_timeout_s: float = 60.0
    negotiation_timeout_s: float = 30.0
    database_wait_s: float = 5.0
    stop_within_s: float = 15.0
    tick_s: float = 0.5
    tls: TlsConfig | None = None
    spool: SpoolConfig = field(default_factory=SpoolConfig)

    def __post_init__(self) -> None:
        for title in (self.ae_title, *self.calling_ae_titles, *self.called_ae_titles):
            if not _is_ae_title(title):
                raise ConfigError("receive: an AE title has 1 to 16 characters, not only spaces, no backslash")
        if not (1 <= self.processes <= 64 and 1 <= self.maximum_associations <= _MOST_ASSOCIATIONS):
            limits = f"processes must lie between 1 and 64, maximum_associations between 1 and {_MOST_ASSOCIATIONS}"
            raise ConfigError(f"receive: {limits}")
        if self.maximum_pdu_bytes and not 4096 <= self.maximum_pdu_bytes <= 2**24:
            raise ConfigError("receive: maximum_pdu_bytes must be 0 (no limit) or lie between 4096 and 16777216")
        times_s = (self.network_timeout_s, self.negotiation_timeout_s, self.database_wait_s, self.tick_s)
        if min(times_s) <= 0 or self.stop_within_s < 0:
            raise ConfigError("receive: times must be above 0")
        if not 0 <= self.port <= 65535:
            raise ConfigError("receive: port must lie between 0 and 65535")


def _is_ae_title(title: str) -> bool:
    return 0 < len(title.strip()) <= len(title) <= _AE_MAX_CHARS and title.isascii() and "\\" not in title
