"""How this node proves to a DICOMweb server who it is: settings enter, what is wrong with them leaves as text."""

from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

AUTHENTICATIONS: Final = ("none", "basic", "bearer")


class WebAccess(Protocol):
    """The settings of an archive that is reached by HTTP which say who asks and whom this node trusts.

    `authentication` is one of AUTHENTICATIONS: basic goes with `username` and `password`, bearer with `token`. The
    files are PEM; `client_key` None: the key is in the certificate's file; `ca_file` None: the usual authorities.
    """

    @property
    def authentication(self) -> str: ...  # noqa: D102 - all are told in the docstring of the class

    @property
    def username(self) -> str: ...  # noqa: D102

    @property
    def password(self) -> str: ...  # noqa: D102

    @property
    def token(self) -> str: ...  # noqa: D102

    @property
    def client_certificate(self) -> Path | None: ...  # noqa: D102

    @property
    def client_key(self) -> Path | None: ...  # noqa: D102

    @property
    def ca_file(self) -> Path | None: ...  # noqa: D102


def is_web_url(url: str) -> bool:
    """Whether this is an http or https URL with a host."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def fault_of(access: WebAccess, *, prefix: str = "") -> str | None:
    """Return what is wrong with the settings, as the rest of a sentence; None when nothing is.

    `prefix` stands before the name of each setting.
    """
    if access.authentication not in AUTHENTICATIONS:
        return f"{prefix}authentication must be one of {', '.join(AUTHENTICATIONS)}"
    if access.authentication == "basic" and not (access.username and access.password):
        return f"{prefix}authentication basic needs {prefix}username and {prefix}password"
    if access.authentication == "bearer" and not access.token:
        return f"{prefix}authentication bearer needs {prefix}token"
    if access.client_key and not access.client_certificate:
        return f"{prefix}client_key needs {prefix}client_certificate"
    return None
