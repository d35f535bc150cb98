"""C-STORE (PS3.4 Annex B): a document's bytes enter, the archive has taken them when `send` returns."""

import logging
import socket
import ssl
from io import BytesIO

from pydicom import dcmread
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, evt
from pynetdicom.association import Association

from operators.deliver.config import CStoreDestination
from operators.deliver.statuses import outcome_of, raise_for
from operators.domain.drafts import Document
from operators.domain.errors import ConfigError, PermanentError, TransientError
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

_SOP_CLASSES = (Comprehensive3DSRStorage, EncapsulatedPDFStorage, BasicTextSRStorage)
_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


class CStoreSender:
    """Sends to one archive, an association for each document; implements operators.domain.drafts.Sender."""

    def __init__(self, destination: CStoreDestination) -> None:
        """Raise ConfigError when a TLS file cannot be used."""
        self._to = destination
        self._tls = _tls_arguments(destination)

    def send(self, document: Document) -> None:
        """Store the document; one that the archive has already counts as stored.

        Raises
        ------
        TransientError
            PACS_AWAY: no connection, no answer in time, or a status that passes. PACS_REFUSED: the archive refuses us,
            whatever is sent (AE title, rights): it waits until an admin has mended it.
        PermanentError
            PACS_REFUSED: the archive refuses this document or knows nothing of its SOP class.
        """
        association = self._associate()
        try:
            self._store(association, document)
        finally:
            if association.is_established:
                association.release()

    def close(self) -> None:
        """Keep nothing open: every document has an association of its own."""

    def _associate(self) -> Association:
        to = self._to
        entity = AE(ae_title=to.calling_ae)
        entity.connection_timeout = entity.acse_timeout = to.connect_timeout_s
        entity.dimse_timeout = entity.network_timeout = to.answer_timeout_s
        for sop_class in _SOP_CLASSES:
            entity.add_requested_context(sop_class, _SYNTAXES)
        association = entity.associate(
            to.host,
            to.port,
            ae_title=to.called_ae,
            tls_args=self._tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
        )
        if association.is_rejected:
            raise TransientError(ReasonCode.PACS_REFUSED, destination=to.name, why="association rejected")
        if not association.is_established:
            raise self._away("no association")
        return association

    def _store(self, association: Association, document: Document) -> None:
        if not any(context.abstract_syntax == document.sop_class_uid for context in association.accepted_contexts):
            raise PermanentError(
                ReasonCode.PACS_REFUSED, destination=self._to.name, why=f"no {document.kind} accepted (SOP class)"
            )
        ds = dcmread(BytesIO(document.content))
        try:
            response = association.send_c_store(ds)
        except RuntimeError as exc:  # the archive hung up between accepting and being asked
            raise self._away("association lost") from exc
        if "Status" not in response:
            raise self._away("no answer")
        raise_for(outcome_of(response.Status), self._to.name, status=f"{response.Status:04X}h")

    def _away(self, why: str) -> TransientError:
        return TransientError(ReasonCode.PACS_AWAY, destination=self._to.name, why=why)


def _send_at_once(event: evt.Event) -> None:
    """Switch Nagle's algorithm off: a C-STORE is several small writes, and each would wait for the one before."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tls_arguments(to: CStoreDestination) -> tuple[ssl.SSLContext, str] | None:
    if to.tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(to.tls.ca_file) if to.tls.ca_file else None)
        if to.tls.certificate_file:
            context.load_cert_chain(to.tls.certificate_file, to.tls.key_file)
    except OSError as exc:  # ssl.SSLError is one
        raise ConfigError(f"pacs {to.name}: a TLS file cannot be used ({type(exc).__name__})") from exc
    return context, to.tls.server_name or to.host
