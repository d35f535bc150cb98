"""A DICOMweb server on a socket that answers and misbehaves as a test tells it, and what it may answer."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from operators.priors.config import PriorsConfig
from operators.priors.dicomweb import DicomWebArchive

BOUNDARY = "a-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
Answer = tuple[int, dict[str, str], bytes]


class ScriptedServer(ThreadingHTTPServer):
    """Answers every GET by `answer(path, query, headers)` and remembers what was asked."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "http" if context is None else "https"
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[str, dict[str, list[str]]], Answer] = lambda path, query: rows([])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/pacs"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the client broke off."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        parts = urlsplit(self.path)
        status, headers, body = self.server.answer(parts.path, parse_qs(parts.query))
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if headers.get("Connection") == "close":
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the method it overrides
        """Keep the test's output quiet."""


def running(context: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serve from a thread; what a fixture yields from."""
    server = ScriptedServer(context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[str, dict[str, list[str]]], Answer]:
    """Return what gives the same answer to everything; `_` in the name of a header stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda path, query: (status, named, body)


def rows(answers: list[dict[str, Any]]) -> Answer:
    """Answer a search with these datasets (DICOM JSON)."""
    return 200, {"Content-Type": "application/dicom+json"}, json.dumps(answers).encode()


def study_row(study_uid: str, patient_id: str = "P-1") -> dict[str, Any]:
    """Return a study as QIDO-RS tells it."""
    return {
        "0020000D": {"vr": "UI", "Value": [study_uid]},
        "00100020": {"vr": "LO", "Value": [patient_id]},
        "00080061": {"vr": "CS", "Value": ["DX", "SR"]},
    }


def multipart(*parts: bytes) -> bytes:
    """Return the body of a multipart message with these objects."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"\r\n".join(head + part for part in parts) + f"\r\n--{BOUNDARY}--\r\n".encode()


def archive_of(server: ScriptedServer, **settings: Any) -> DicomWebArchive:
    """Return the adapter, pointed at the server."""
    return DicomWebArchive(PriorsConfig(**{"url": server.url, "read_timeout_s": 5.0, **settings}))
