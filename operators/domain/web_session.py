"""A session of requests and the settings of an archive enter; the session then proves who this node is."""

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from operators.domain.web_access import WebAccess


class BearerAuth(AuthBase):
    """RFC 6750: the token in the Authorization header; requests drops it when redirected to another host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def missing_file_of(access: WebAccess) -> str | None:
    """Return the name of the first setting that names a file that is not there."""
    files = {
        "client_certificate": access.client_certificate,
        "client_key": access.client_key,
        "ca_file": access.ca_file,
    }
    return next((name for name, path in files.items() if path is not None and not path.is_file()), None)


def identify(session: requests.Session, access: WebAccess) -> None:
    """Give the session the identity and trust that the settings name.

    Proxies, .netrc and authorities of the environment are not used: what the settings say is all there is.
    """
    session.trust_env = False
    if access.client_certificate is not None:
        session.cert = (str(access.client_certificate), str(access.client_key or access.client_certificate))
    if access.ca_file is not None:
        session.verify = str(access.ca_file)
    if access.authentication == "basic":
        session.auth = HTTPBasicAuth(access.username.encode(), access.password.encode())
    elif access.authentication == "bearer":
        session.auth = BearerAuth(access.token)
