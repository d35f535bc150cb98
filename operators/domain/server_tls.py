"""TLS of what listens: settings enter, the server's TLS context leaves (PS3.15 B.12, BCP 195: TLS 1.2 at least)."""

import ssl

from operators.domain.errors import ConfigError
from operators.domain.tls_config import TlsConfig


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
