"""STOW-RS (PS3.18 10.5): a document's bytes enter, the archive has taken them when `send` returns.

The bytes are posted as they were rendered. dicomweb-client is not used here: it encodes datasets anew, hides the body
of a refusal, in which the archive says why, and follows a redirect of the POST with a GET that looks like success.
"""

import json
import logging
import re
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from operators.deliver.config import StowDestination
from operators.deliver.statuses import Status, outcome_of_failure, raise_for
from operators.domain.drafts import Document
from operators.domain.errors import ConfigError, PermanentError, TransientError
from operators.domain.ids import digest
from operators.domain.reasons import ReasonCode
from operators.domain.web_session import identify, missing_file_of

logger = logging.getLogger(__name__)

_FAILURE_REASON, _SOP_INSTANCE_UID = "00081197", "00081155"
_FAILED_SEQUENCES = ("00081198", "0008119A")
_OF_A_STORE_ANSWER = frozenset({"00081190", "00081198", "00081199", "0008119A"})
"""Retrieve URL, Failed SOP, Referenced SOP and Other Failures Sequence: all that PS3.18 Table 10.5.3-1 knows."""
_XML_FAILURE = re.compile(
    rb"""tag=["']0008119[8A]["'].*?tag=["']00081197["'][^>]*>\s*<(?:\w+:)?Value[^>]*>\s*(\d+)""", re.DOTALL
)
_XML_ANSWER = re.compile(rb"""<(?:\w+:)?NativeDicomModel\b.*?\btag=["']0008119[089A]["']""", re.DOTALL)
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_OF_THE_DESTINATION = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405, 407})
_STORED_STATUSES = frozenset({200, 202})


class StowSender:
    """Sends to one archive; implements operators.domain.drafts.Sender."""

    def __init__(self, destination: StowDestination) -> None:
        """Raise ConfigError for a certificate file that is not there."""
        self._to = destination
        self._session = _open_session(destination)
        root = destination.url.rstrip("/")
        path = destination.stow_path.strip("/")
        self._url = f"{root}/{path}/studies" if path else f"{root}/studies"

    def send(self, document: Document) -> None:
        """Store the document; one that the archive has already counts as stored.

        Raises
        ------
        TransientError
            PACS_AWAY: no connection, no answer in time, or an answer that passes. PACS_REFUSED: the archive refuses
            us, whatever is sent (credentials, certificate, address), or something else answers in its place: it waits
            until an admin has mended it.
        PermanentError
            PACS_REFUSED: the archive refuses this document.
        """
        boundary = digest("stow", document.identity)[:40]
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        body = _multipart(document.content, boundary)
        try:
            answer = self._session.post(
                self._url,
                data=body,
                headers=headers,
                timeout=(self._to.connect_timeout_s, self._to.answer_timeout_s),
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as exc:
            raise self._refuses("certificate or TLS", kind=type(exc).__name__) from exc
        except requests.RequestException as exc:
            raise TransientError(ReasonCode.PACS_AWAY, destination=self._to.name, kind=type(exc).__name__) from exc
        self._judge(answer, document.identity)

    def close(self) -> None:
        """Close kept connections."""
        self._session.close()

    def _judge(self, answer: requests.Response, identity: str) -> None:
        """Tell by status and body: a success can carry an empty Failed SOP Sequence, a 200 a full one or a page."""
        reason = failure_reason(answer.content, identity)
        if reason is not None:
            raise_for(outcome_of_failure(reason), self._to.name, status=f"{reason:04X}h")
        elif answer.status_code in _OF_THE_DESTINATION:
            raise self._refuses("HTTP status", status=answer.status_code)
        elif answer.status_code in _PASSING_STATUSES:
            raise TransientError(ReasonCode.PACS_AWAY, destination=self._to.name, status=answer.status_code)
        elif answer.status_code not in _STORED_STATUSES:
            raise PermanentError(ReasonCode.PACS_REFUSED, destination=self._to.name, status=answer.status_code)
        elif not is_store_answer(answer.content):
            raise self._refuses("the answer is none of an archive", status=answer.status_code)

    def _refuses(self, why: str, **facts: str | int) -> TransientError:
        return TransientError(ReasonCode.PACS_REFUSED, destination=self._to.name, why=why, **facts)


def failure_reason(body: bytes, identity: str) -> int | None:
    """Return the Failure Reason (0008,1197) that an answer gives for our instance; None when it names none.

    JSON is read as such; of XML only the first failure is looked for, since one instance was sent.
    """
    datasets = _datasets(body)
    if datasets is None:
        found = _XML_FAILURE.search(body)
        return int(found.group(1)) if found else None
    for item in (item for dataset in datasets for tag in _FAILED_SEQUENCES for item in _items(dataset, tag)):
        named = _first(item, _SOP_INSTANCE_UID)
        if named in (None, identity):
            reason = _first(item, _FAILURE_REASON)
            return reason if isinstance(reason, int) else int(Status.UNKNOWN)
    return None


def is_store_answer(body: bytes) -> bool:
    """Whether this is what an archive says of a stored instance: nothing at all, or PS3.18 10.5.3's JSON or XML.

    A sign-in page, or another service under the address, also answers with status 200.
    """
    if not body.strip():
        return True
    datasets = _datasets(body)
    if datasets is None:
        return _XML_ANSWER.search(body) is not None
    return any(isinstance(dataset, dict) and _OF_A_STORE_ANSWER & dataset.keys() for dataset in datasets)


def _datasets(body: bytes) -> list[Any] | None:
    """Return the members of a JSON body; None when it is no JSON."""
    try:
        answered = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        return None
    return answered if isinstance(answered, list) else [answered]


def _items(dataset: Any, tag: str) -> list[Any]:
    element = dataset.get(tag) if isinstance(dataset, dict) else None
    value = element.get("Value") if isinstance(element, dict) else None
    return value if isinstance(value, list) else []


def _first(item: Any, tag: str) -> Any:
    values = _items(item, tag)
    return values[0] if values else None


def _multipart(content: bytes, boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return head + content + f"\r\n--{boundary}--\r\n".encode()


def _open_session(to: StowDestination) -> requests.Session:
    """Return a session with the identity and trust that the settings name."""
    if missing := missing_file_of(to):
        raise ConfigError(f"pacs {to.name}: {missing} names a file that is not there")
    session = requests.Session()
    identify(session, to)
    # One more try for a kept connection that the archive closed meanwhile: storing twice is harmless.
    retry = Retry(total=1, connect=0, read=1, redirect=0, status=0, other=0, allowed_methods=("POST",))
    session.mount(f"{urlsplit(to.url).scheme}://", HTTPAdapter(max_retries=retry))
    return session
