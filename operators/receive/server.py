"""The association server of one listener process: a listening socket and handlers enter, associations are served.

Several processes accept from the same listening socket; the one that is free takes the next connection.
"""

import logging
import socket as sockets
import ssl
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from operators.receive.dimse import OpenSink
from operators.receive.transport import EagerSocket, StoreAssociation

logger = logging.getLogger(__name__)


class StoreServer(ThreadedAssociationServer):  # type: ignore[misc] # pynetdicom is not typed for us
    """Accepts connections; `open_sink` and `tls` are used by their handlers."""

    daemon_threads = True
    socket: sockets.socket

    def __init__(
        self,
        ae: ApplicationEntity,
        listening: sockets.socket,
        *,
        open_sink: OpenSink,
        tls: ssl.SSLContext | None,
        on_tls_failure: Callable[[], None],
        handlers: list[Any],
    ) -> None:
        self._listening = listening
        self.open_sink = open_sink
        self.tls = tls
        self.on_tls_failure = on_tls_failure
        address = listening.getsockname()
        super().__init__(
            ae, address, ae.ae_title, ae.supported_contexts, evt_handlers=handlers, request_handler=StoreRequestHandler
        )

    def server_bind(self) -> None:
        """Use the socket that was bound before, instead of another."""
        self.socket.close()
        self.socket = self._listening
        self.socket.setblocking(False)  # another process may be quicker
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Do nothing: the socket listens already."""

    def server_close(self) -> None:
        """Close this process's end; shutting the socket down would stop the other processes too."""
        self.socket.close()

    def get_request(self) -> tuple[sockets.socket, Any]:
        """Accept a connection. Raises OSError when another process took it."""
        connection, address = self.socket.accept()
        connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        connection.settimeout(self.ae.network_timeout)  # a peer that goes silent within a PDU must not stay for ever
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that ends."""
        try:
            super().shutdown_request(request)
        except OSError as exc:
            logger.debug("connection.gone", extra={"kind": type(exc).__name__})

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note a connection that failed before it became an association."""
        del request, client_address
        logger.warning("connection.failed")


class StoreRequestHandler(RequestHandler):  # type: ignore[misc] # pynetdicom is not typed for us
    """Makes a StoreAssociation of a connection, on the connection's own thread."""

    request: Any

    def handle(self) -> None:
        """Shake hands if TLS is used, then start the association."""
        tls = self.server.tls
        if tls is not None:
            self.request.settimeout(self.server.ae.acse_timeout)
            try:
                self.request = tls.wrap_socket(self.request, server_side=True)
            except (OSError, ValueError) as exc:
                logger.warning("association.tls_failed", extra={"peer": self.client_address[0], "kind": _kind(exc)})
                self.server.on_tls_failure()
                self.request.close()
                return
            self.request.settimeout(self.server.ae.network_timeout)
        super().handle()

    def _create_association(self) -> StoreAssociation:
        server, ae = self.server, self.ae
        association = StoreAssociation(ae, "acceptor", server.open_sink)
        association._server = server  # noqa: SLF001 - as the base class does
        association.name = "AcceptorThread"  # by which pynetdicom finds the server's associations
        association.set_socket(EagerSocket(association, client_socket=self.request))
        acceptor = association.acceptor
        acceptor.maximum_length = ae.maximum_pdu_size
        acceptor.ae_title = server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = ae.implementation_class_uid
        acceptor.implementation_version_name = ae.implementation_version_name
        acceptor.supported_contexts = deepcopy(server.contexts)
        association.requestor.address_info = self.remote
        _bind(association, server)
        return association


def _bind(association: StoreAssociation, server: StoreServer) -> None:
    """Hand the server's event handlers on to the association."""
    for event in server.get_events():
        handlers = server.get_handlers(event)
        if isinstance(event, evt.NotificationEvent):
            for handler, arguments in handlers:
                association.bind(event, handler, arguments)
        elif handlers and handlers[0] is not None:
            association.bind(event, *handlers)


def _kind(exc: Exception) -> str:
    return str(getattr(exc, "reason", "") or type(exc).__name__)
