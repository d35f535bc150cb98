"""TLS of what listens: settings enter, the server's TLS context leaves (PS3.15 B.12, BCP 195: TLS 1.2 at least)."""

import ssl
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


def server_context(config: TlsConfig, section: str) -> ssl.SSLContext:
    """Return the context for accepted connections. Raises ConfigError naming what of `section` cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate_path, config.key_path)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"{section}: certificate or key cannot be used ({type(exc).__name__})") from exc
    if config.ca_path:
        try:
            context.load_verify_locations(config.ca_path)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"{section}: ca_path cannot be used ({type(exc).__name__})") from exc
        context.verify_mode = ssl.CERT_REQUIRED if config.require_client_certificate else ssl.CERT_OPTIONAL
    return context
