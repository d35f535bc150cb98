"""Settings of TLS of what listens."""

from dataclasses import dataclass

from operators.domain.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """TLS 1.2 or 1.3 of a listener (DICOM: PS3.15 B.9 and later).

    `certificate_path` and `key_path` are PEM files of this node; `ca_path` holds the authorities that client
    certificates are checked against, `require_client_certificate` refuses a peer without one.
    """

    certificate_path: str
    key_path: str
    ca_path: str = ""
    require_client_certificate: bool = True

    def __post_init__(self) -> None:
        if not self.certificate_path or not self.key_path:
            raise ConfigError("tls of a listener: certificate_path and key_path must be given")
        if self.require_client_certificate and not self.ca_path:
            raise ConfigError("tls of a listener: ca_path must be given to require client certificates")
