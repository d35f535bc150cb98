"""HTTP to the PACS: settings enter, a session that proves who we are leaves; its errors become errors of the tree."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from operators.domain.errors import ConfigError, NodeError, PermanentError, TransientError
from operators.domain.reasons import ReasonCode
from operators.domain.web_session import identify, missing_file_of
from operators.priors.archive import GoneError
from operators.priors.config import PriorsConfig

_PASSING_STATUSES = frozenset({408, 425, 429})
_GONE_STATUSES = frozenset({404, 410})
_DISTRUST_STATUSES = frozenset({401, 403})


class PacsSession(requests.Session):
    """A session that writes queries as archives read them.

    Values are percent-encoded but for the wildcard `*`, a space is %20 (some archives take neither + nor %2A for what
    they mean), and the Host header keeps its port, which dicomweb-client drops.
    """

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Return the request as it is sent."""
        path, separator, query = str(request.url).partition("?")
        request.url = path + separator + query.replace("+", "%20").replace("%2A", "*")
        request.headers = {name: value for name, value in (request.headers or {}).items() if name != "Host"}
        return super().prepare_request(request)


def open_session(config: PriorsConfig) -> PacsSession:
    """Return a session with the identity and trust that the settings name.

    Raises ConfigError for a certificate file that is not there.
    """
    if missing := missing_file_of(config):
        raise ConfigError(f"priors.{missing} names a file that is not there")
    session = PacsSession()
    identify(session, config)
    # One more try for a connection that the archive closed while it was kept alive; real absence waits in the queue.
    retry = Retry(total=1, connect=0, read=1, redirect=None, status=0, other=0, allowed_methods=("GET",))
    session.mount(config.url, HTTPAdapter(max_retries=retry))
    return session


@contextmanager
def pacs_errors(url: str) -> Iterator[None]:
    """Turn what requests raises into TransientError or PermanentError; the text names the host, never a query."""
    host = urlsplit(url).hostname or "unknown"
    try:
        yield
    except requests.HTTPError as exc:
        status = 500 if exc.response is None else exc.response.status_code
        raise error_of_status(status, host) from exc
    except requests.exceptions.SSLError as exc:
        if _is_distrust(exc):
            raise TransientError(ReasonCode.PACS_REFUSED, host=host, kind="certificate not trusted") from exc
        raise TransientError(ReasonCode.PACS_AWAY, host=host, kind="SSLError") from exc
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as exc:
        raise TransientError(ReasonCode.PACS_AWAY, host=host, kind=type(exc).__name__) from exc
    except requests.RequestException as exc:
        raise PermanentError(ReasonCode.PACS_REFUSED, host=host, kind=type(exc).__name__) from exc


def error_of_status(status: int, host: str) -> NodeError:
    """Return the error that an HTTP status means.

    5xx and the like pass; credentials that are refused are refused to every study, until an admin has mended them; the
    rest is this request's, and must be looked at.
    """
    if status >= 500 and status != 501:
        return TransientError(ReasonCode.PACS_AWAY, host=host, status=status)
    if status in _PASSING_STATUSES:
        return TransientError(ReasonCode.PACS_AWAY, host=host, status=status)
    if status in _DISTRUST_STATUSES:
        return TransientError(ReasonCode.PACS_REFUSED, host=host, status=status)
    if status in _GONE_STATUSES:
        return GoneError(status)
    return PermanentError(ReasonCode.PACS_REFUSED, host=host, status=status)


def _is_distrust(exc: BaseException) -> bool:
    """Whether a certificate was refused, here or there, rather than a handshake cut short."""
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        if isinstance(seen, ssl.SSLError) and "ALERT" in (seen.reason or "").upper():  # the peer's word on ours
            return True
        reason = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        following = reason if isinstance(reason, BaseException) else None
        seen = following or seen.__cause__ or seen.__context__
    return False
