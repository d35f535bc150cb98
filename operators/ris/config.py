"""Settings of the listener for HL7 messages."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from operators.domain.errors import ConfigError
from operators.domain.hl7.charsets import CHARACTER_SETS
from operators.domain.tls_config import TlsConfig

_PROCESSING_IDS: Final = ("P", "T", "D")  # HL7 table 0103


@dataclass(frozen=True, slots=True, kw_only=True)
class RisConfig:
    """The MLLP listener, part of the receive role.

    Attributes
    ----------
    enabled
        Whether the node listens for HL7 messages at all.
    bind
        Address to listen on; `0.0.0.0` for all of the machine's. One that is not loopback needs `addresses`, or `tls`
        with client certificates.
    port
        Port of the listener; 0 lets the system choose.
    addresses
        IP addresses and networks (10.1.0.0/16) that may connect; none: any that reaches `bind`.
    senders
        Sending applications (MSH-3), or application and facility as APP|FACILITY (MSH-3|MSH-4), whose messages are
        taken; none: anybody's.
    processing_ids
        Processing IDs (MSH-11) that are taken: P production, T training, D debugging.
    character_set
        Character set of messages whose MSH-18 is empty.
    tls
        TLS for MLLP. Absent: plain connections.
    maximum_connections
        Connections that are open at once; one more is closed.
    maximum_message_bytes
        Size of the largest message that is taken.
    message_timeout_s
        A message whose end does not come within this time after its beginning ends the connection.
    idle_timeout_s
        A connection on which nothing comes for so long is closed.
    keep_days
        Messages are kept for so long, and a repetition is known as one.
    """

    enabled: bool = False
    bind: str = "127.0.0.1"
    port: int = 2575
    addresses: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    processing_ids: tuple[str, ...] = ("P",)
    character_set: str = "ASCII"
    tls: TlsConfig | None = None
    maximum_connections: int = 32
    maximum_message_bytes: int = 1_048_576
    message_timeout_s: float = 30.0
    idle_timeout_s: float = 3600.0
    keep_days: float = 90.0

    def __post_init__(self) -> None:
        """Raise ConfigError for a value that cannot be meant."""
        if not 0 <= self.port <= 65535:
            raise ConfigError("ris: port must lie between 0 and 65535")
        if not 1 <= self.maximum_connections <= 1000:
            raise ConfigError("ris: maximum_connections must lie between 1 and 1000")
        if not 1024 <= self.maximum_message_bytes <= 2**28:
            raise ConfigError("ris: maximum_message_bytes must lie between 1024 and 268435456")
        if min(self.message_timeout_s, self.idle_timeout_s, self.keep_days) <= 0:
            raise ConfigError("ris: message_timeout_s, idle_timeout_s and keep_days must be above 0")
        self._check_words()
        self._check_reach()

    def _check_words(self) -> None:
        if self.character_set not in CHARACTER_SETS:
            raise ConfigError(f"ris: character_set must be one of {', '.join(CHARACTER_SETS)}")
        if not self.processing_ids or not set(self.processing_ids) <= set(_PROCESSING_IDS):
            raise ConfigError("ris: processing_ids takes P, T and D")
        if not all(sender.strip("| ") for sender in self.senders):
            raise ConfigError("ris: senders takes APP or APP|FACILITY")

    def _check_reach(self) -> None:
        try:
            networks = [ipaddress.ip_network(address) for address in self.addresses]
            is_loopback = ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            raise ConfigError("ris: bind takes an IP address, addresses IP addresses and networks") from None
        has_proof = self.tls is not None and self.tls.require_client_certificate
        if self.enabled and not (is_loopback or networks or has_proof):
            raise ConfigError(
                "ris: a bind that is not loopback needs addresses, or tls with client certificates: "
                "who can send here can merge patients"
            )

    def admits(self, address: str) -> bool:
        """Whether a peer of this IP address may connect."""
        peer = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(peer, "ipv4_mapped", None) or peer
        return not self.addresses or any(mapped in ipaddress.ip_network(network) for network in self.addresses)

    def takes_from(self, application: str, facility: str) -> bool:
        """Whether messages of this sender are taken."""
        return not self.senders or application in self.senders or f"{application}|{facility}" in self.senders
