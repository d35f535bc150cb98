"""One listener process: accepts associations from the shared socket, stores what they bring, tells its parent.

It stops when told to, and at once when its parent is gone: what it has not acknowledged, the senders still have.
"""

import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pydicom.config
from pynetdicom import _config as pynetdicom_config
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import Verification

from operators.domain.clock import Clock, SystemClock
from operators.domain.database import open_pool
from operators.domain.errors import TransientError
from operators.domain.ids import AeTitle
from operators.domain.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from operators.domain.messages import StoredInstance
from operators.domain.server_tls import server_context
from operators.receive.acceptance import COMMENTS, RefusalReason, StoreStatus, judge_association
from operators.receive.command import StoreCommand
from operators.receive.config import ReceiveConfig
from operators.receive.ledger import Ledger
from operators.receive.part10 import file_preface
from operators.receive.server import StoreServer
from operators.receive.spool import PartFile, Spool
from operators.receive.storing import Storer, StoreRequest

logger = logging.getLogger(__name__)

STOP = "stop"
WRITER = "listener"
"""What the names of all files begin with that listeners receive into."""
_LOOK_S = 0.1
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSetup:
    """What a listener process is started with. `number` counts from 0; `set_up_process` is run first in it."""

    number: int
    config: ReceiveConfig
    database_url: str
    spool_root: Path
    set_up_process: Callable[[], None]


def listen(setup: ListenerSetup, listening: socket.socket, parent: Connection, loads: MutableSequence[int]) -> None:
    """Run one listener process to its end. `loads` counts the associations of each process, for all to see."""
    _silence_libraries()
    setup.set_up_process()
    config = setup.config
    spool = Spool(setup.spool_root, writer=f"{WRITER}{setup.number}-", refuse_below_mib=config.spool.refuse_below_mib)
    spool.prepare()
    with open_pool(setup.database_url, max_size=_CONNECTIONS, wait_s=config.database_wait_s, check=False) as pool:
        ledger = Ledger(pool)
        clock = SystemClock()
        listener = Listener(
            config=config,
            number=setup.number,
            loads=loads,
            spool=spool,
            storer=Storer(files=spool, records=ledger, clock=clock),
            ledger=ledger,
            clock=clock,
            tell=_Teller(parent),
        )
        server = listener.serve_on(listening)
        _wait_for_end(listener, server, parent, config.stop_within_s)
    os._exit(0)  # association threads that a peer holds up must not hold up the end


def _silence_libraries() -> None:
    """Keep the DICOM libraries from logging or warning: their texts hold values, and values can name a patient."""
    warnings.simplefilter("ignore")
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pynetdicom_config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom_config.LOG_RESPONSE_IDENTIFIERS = False
    pynetdicom_config.LOG_HANDLER_LEVEL = "none"
    pynetdicom_config.UNRESTRICTED_STORAGE_SERVICE = True


def _wait_for_end(listener: "Listener", server: StoreServer, parent: Connection, stop_within_s: float) -> None:
    while not parent.poll(_LOOK_S):
        listener.note_load(server)
    try:
        parent.recv()
    except (EOFError, OSError):
        os._exit(1)  # the parent is gone: its successor needs the port
    server.shutdown()
    deadline_s = time.monotonic() + stop_within_s
    while server.active_associations and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)
    for association in server.active_associations:
        logger.info("association.cut_off", extra={"state": association.dul.state_machine.current_state})
        association.abort(block=False)
        time.sleep(_LOOK_S)


class _Teller:
    """Sends what was stored to the parent; a parent that is gone is noticed elsewhere."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._lock = threading.Lock()

    def __call__(self, stored: StoredInstance) -> None:
        try:
            with self._lock:
                self._parent.send(stored)
        except OSError as exc:
            logger.warning("listener.parent_gone", extra={"kind": type(exc).__name__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A data set that arrives, with what its request announced; the sink of the association."""

    part: PartFile
    request: StoreRequest
    store: Callable[[PartFile, StoreRequest], StoreStatus]

    def write(self, fragment: memoryview) -> None:
        """Append a fragment."""
        self.part.write(fragment)

    def finish(self) -> tuple[int, str]:
        """Store it; return the status to answer and the comment that goes with a failure."""
        try:
            status = self.store(self.part, self.request)
        except Exception as exc:  # noqa: BLE001 - the boundary of this process: a defect must not look like success
            logger.error("store.defect", extra={"kind": type(exc).__name__})  # noqa: TRY400 - no values in logs
            if self.part.is_kept:
                self.part.close()
            else:
                self.part.discard()
            status = StoreStatus.NODE_DEFECT
        return int(status), COMMENTS.get(status, "")

    def discard(self) -> None:
        """Forget it: the association ended in the middle."""
        self.part.discard()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Answers the events of associations."""

    config: ReceiveConfig
    number: int
    loads: MutableSequence[int]
    spool: Spool
    storer: Storer
    ledger: Ledger
    clock: Clock
    tell: Callable[[StoredInstance], None]

    def serve_on(self, listening: socket.socket) -> StoreServer:
        """Start to accept associations on a thread."""
        config = self.config
        ae = ApplicationEntity(config.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.maximum_pdu_size = config.maximum_pdu_bytes
        ae.maximum_associations = 2**31  # the limit is of all processes together: see judge_association
        ae.network_timeout = config.network_timeout_s
        ae.acse_timeout = config.negotiation_timeout_s
        ae.add_supported_context(Verification)  # storage of any kind is accepted as unrestricted
        server = StoreServer(
            ae,
            listening,
            open_sink=self.open_sink,
            tls=server_context(config.tls, "receive.tls") if config.tls else None,
            on_tls_failure=partial(self._count_refusal, "", "", RefusalReason.TLS),
            handlers=[(evt.EVT_REQUESTED, self.on_requested)],
        )
        ae._servers.append(server)  # noqa: SLF001 - shutdown() expects itself there
        threading.Thread(target=server.serve_forever, args=(_LOOK_S,), name="accept", daemon=True).start()
        return server

    def note_load(self, server: StoreServer) -> int:
        """Let the other processes see how many associations this one has; return how many all have."""
        self.loads[self.number] = len(server.active_associations)
        return sum(self.loads)

    def open_sink(self, command: StoreCommand, *, transfer_syntax_uid: str, calling_ae: str) -> Incoming:
        """Open a file for the data set of a request that begins."""
        request = StoreRequest(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            calling_ae=AeTitle(calling_ae),
        )
        preface = file_preface(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            source_ae_title=calling_ae,
        )
        return Incoming(part=self.spool.begin(preface), request=request, store=self.store)

    def store(self, part: PartFile, request: StoreRequest) -> StoreStatus:
        """Store one object and tell the parent; return the status to answer."""
        outcome = self.storer.store(part, request)
        if outcome.stored is not None:
            self.tell(outcome.stored)
        return outcome.status

    def on_requested(self, event: Any) -> None:
        """Reject an association that is not welcome, and count it by its names."""
        association = event.assoc
        request = association.requestor.primitive
        calling_ae, called_ae = str(request.calling_ae_title).strip(), str(request.called_ae_title).strip()
        others = self.note_load(association._server) - 1  # noqa: SLF001 - there is no public name for it
        rejection = judge_association(calling_ae, called_ae, others, self.config)
        if rejection is None:
            logger.info("association.accepted", extra={"calling_ae": calling_ae, "others": others})
            return
        association.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        said = {"calling_ae": calling_ae, "called_ae": called_ae, "reason": rejection.reason.value, "others": others}
        logger.warning("association.refused", extra={**said, "peer": association.requestor.address})
        self._count_refusal(calling_ae, called_ae, rejection.reason)
        association.kill()

    def _count_refusal(self, calling_ae: str, called_ae: str, reason: RefusalReason) -> None:
        try:
            self.ledger.count_refusal(calling_ae, called_ae, reason.value, self.clock.now())
        except TransientError as error:
            logger.info("refusal.not_counted", extra={"code": error.code.value})
