"""Small archives that answer as a test pleases, by HTTP and by C-STORE; they keep what they got."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, EncapsulatedPDFStorage

from operators.deliver.config import CStoreDestination
from operators.domain.ids import AeTitle, Destination
from tests.support.peers import TlsMaterial

PACS = Destination("pacs")
NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@dataclass
class Script:
    """What a small HTTP archive answers, and what it was asked."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def http_archive(script: Script, keys: TlsMaterial | None = None) -> Iterator[str]:
    """Answer each POST as the script says, by TLS where there are keys; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            script.requests.append((self.path, dict(self.headers), body))
            self.send_response(script.status)
            for name, value in script.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(script.body)))
            self.end_headers()
            self.wfile.write(script.body)

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if keys is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(keys.ca))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(keys.server_certificate, keys.server_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http{'s' if keys else ''}://127.0.0.1:{server.server_address[1]}/rs"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def dicom_archive(
    status: int, *, syntaxes: list[str] | None = None, classes: tuple[str, ...] = ()
) -> Iterator[tuple[int, list[Any]]]:
    """Answer each C-STORE with the status; yield the port and what comes, as (transfer syntax, data set)."""
    entity, got = AE(ae_title="PACS"), []
    for sop_class in classes or (Comprehensive3DSRStorage, EncapsulatedPDFStorage):
        entity.add_supported_context(sop_class, syntaxes or [ExplicitVRLittleEndian])
    entity.require_called_aet = True

    def on_store(event: evt.Event) -> int:
        got.append((event.context.transfer_syntax, event.request.DataSet.getvalue()))
        return status

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        yield server.socket.getsockname()[1], got
    finally:
        server.shutdown()


def store_to(port: int, called_ae: str = "ORTHANC", **facts: Any) -> CStoreDestination:
    """Return the destination at a port of this machine."""
    return CStoreDestination(name=PACS, host="127.0.0.1", port=port, called_ae=AeTitle(called_ae), **facts)


def data_set(content: bytes) -> bytes:
    """Cut preamble and file meta information off a DICOM file."""
    buffer = BytesIO(content)
    meta = dcmread(buffer, specific_tags=[]).file_meta
    return content[128 + 4 + 12 + meta.FileMetaInformationGroupLength :]
