"""One C-STORE: a data set in the spool's incoming folder enters, the status to answer leaves.

Success is answered only when file and row are durable, or were before. Whatever else happens, the sender still has the
object and is told to keep it.

An object that is known is compared by its bytes: the same again changes nothing, others take the place of what was
there. The former file stays for what reads it at the moment; no row names it, and a sweep removes it.
"""

import errno
import logging
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from operators.domain.clock import Clock
from operators.domain.errors import TransientError
from operators.domain.ids import AeTitle, InstanceUid, StudyUid
from operators.domain.messages import InstanceHeader, StoredInstance
from operators.domain.reasons import ReasonCode
from operators.receive.acceptance import StoreStatus, has_identifiers, opens_study
from operators.receive.ledger import Arrival, Recorded, StoredFile
from operators.receive.part10 import BadObjectError, Defect, read_received
from operators.receive.spool import PartFile

logger = logging.getLogger(__name__)

_STATUS_OF_DEFECT = {Defect.UNREADABLE: StoreStatus.CANNOT_UNDERSTAND, Defect.TRUNCATED: StoreStatus.TRUNCATED}

# Names of the counters: objects refused (by status), sent again as they were, sent again with other content, our own
# sent back, and stored without being an image.
REFUSED, DUPLICATE, REPLACED = "objects_refused", "objects_duplicate", "objects_replaced"
OWN, WITHOUT_IMAGE = "objects_own", "objects_not_image"

_WITHDRAWN = "withdrawn"
_MOST_LOOKS = 5  # each one after another arrival of the same object was faster


class _Kept(Enum):
    """What became of an object's file."""

    NEW = auto()
    DUPLICATE = auto()
    REPLACED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """What a C-STORE request announces, and who sends it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: AeTitle


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOutcome:
    """The status to answer, and what was stored when it is a success."""

    status: StoreStatus
    stored: StoredInstance | None = None


class Records(Protocol):
    """The rows, as storing needs them."""

    def record(self, arrival: Arrival) -> Recorded: ...  # noqa: D102
    def stored(self, instance_uid: InstanceUid) -> StoredFile | None: ...  # noqa: D102
    def replace(self, arrival: Arrival, before: StoredFile) -> bool: ...  # noqa: D102
    def reopen(self, arrival: Arrival) -> bool: ...  # noqa: D102
    def is_ours(self, instance_uid: str) -> bool: ...  # noqa: D102
    def count(self, name: str, label: str = "") -> None: ...  # noqa: D102


class Files(Protocol):
    """The spool, as storing needs it."""

    def keep(self, part: PartFile, study_uid: StudyUid, instance_uid: InstanceUid) -> str: ...  # noqa: D102
    def has(self, path: str) -> bool: ...  # noqa: D102
    def remove(self, path: str) -> None: ...  # noqa: D102


class Storer:
    """Stores objects. Many threads use it at once; it has no state of its own."""

    def __init__(self, *, files: Files, records: Records, clock: Clock) -> None:
        self._files = files
        self._records = records
        self._clock = clock

    def store(self, part: PartFile, request: StoreRequest) -> StoreOutcome:
        """Take the data set in `part`, or discard it; whatever fails becomes a status."""
        try:
            return self._store(part, request)
        except BadObjectError as error:
            return self._refuse(part, request, _STATUS_OF_DEFECT[error.defect])
        except TransientError as error:
            # Not counted: that would wait for the database once more before the sender hears of it.
            return self._refuse(part, request, StoreStatus.OUT_OF_RESOURCES, counted=False, code=error.code.value)
        except OSError as exc:
            name = errno.errorcode.get(exc.errno or 0, type(exc).__name__)
            return self._refuse(part, request, StoreStatus.OUT_OF_RESOURCES, error=name)
        finally:
            part.close()

    def _store(self, part: PartFile, request: StoreRequest) -> StoreOutcome:
        if part.failure is not None:
            raise part.failure
        received = read_received(
            part.path, data_set_at=part.data_set_at, transfer_syntax_uid=request.transfer_syntax_uid
        )
        header = received.header
        if not has_identifiers(header):
            return self._refuse(part, request, StoreStatus.NO_IDENTIFIERS)
        if (header.sop_class_uid, header.instance_uid) != (request.sop_class_uid, request.sop_instance_uid):
            return self._refuse(part, request, StoreStatus.DOES_NOT_MATCH)
        is_image = opens_study(header, has_pixels=received.has_pixels)
        if not is_image and self._records.is_ours(header.instance_uid):
            part.discard()
            self._count(OWN)
            return self._success(header, request, opens=False, duplicate=True)
        kept = self._keep(part, header, request, is_image=is_image)
        if kept is not _Kept.NEW:
            self._count(DUPLICATE if kept is _Kept.DUPLICATE else REPLACED)
        elif not is_image:
            self._count(WITHOUT_IMAGE)
        return self._success(header, request, opens=is_image, duplicate=kept is _Kept.DUPLICATE)

    def _keep(self, part: PartFile, header: InstanceHeader, request: StoreRequest, *, is_image: bool) -> _Kept:
        """Make file and row durable. Raises TransientError when that is not certain."""
        arrival = Arrival(
            header=header,
            path=self._files.keep(part, header.study_uid, header.instance_uid),
            size_bytes=part.size_bytes,
            sha256=part.sha256,
            received_at=self._clock.now(),
            calling_ae=request.calling_ae,
            opens_study=is_image,
        )
        # From here on the file stays when the database goes away: whether the row was committed is then unknown.
        part.is_kept = True
        if self._records.record(arrival) is Recorded.NEW:
            return _Kept.NEW
        for _ in range(_MOST_LOOKS):
            before = self._records.stored(header.instance_uid)
            kept = self._keep_again(arrival, before) if before is not None else None
            if kept is not None:
                return kept
        raise TransientError(ReasonCode.DATABASE_AWAY, kind="row not found")

    def _keep_again(self, arrival: Arrival, before: StoredFile) -> _Kept | None:
        """Keep an object that has a row; None when the row has changed meanwhile and must be looked at again."""
        if before.path == arrival.path:
            return _Kept.NEW  # the row is this arrival's: its commit was answered by a broken connection, and repeated
        is_same = before.is_retold_by(arrival)
        if is_same and not before.purged and self._files.has(before.path):
            if arrival.opens_study and before.state == _WITHDRAWN:
                self._records.reopen(arrival)
            self._files.remove(arrival.path)
            return _Kept.DUPLICATE
        if not self._records.replace(arrival, before):
            return None
        return _Kept.DUPLICATE if is_same else _Kept.REPLACED

    def _success(self, header: InstanceHeader, request: StoreRequest, *, opens: bool, duplicate: bool) -> StoreOutcome:
        stored = StoredInstance(
            instance_uid=header.instance_uid,
            study_uid=header.study_uid,
            opens_study=opens,
            duplicate=duplicate,
            received_at=self._clock.now(),
            calling_ae=request.calling_ae,
        )
        return StoreOutcome(status=StoreStatus.SUCCESS, stored=stored)

    def _refuse(
        self, part: PartFile, request: StoreRequest, status: StoreStatus, *, counted: bool = True, **facts: str
    ) -> StoreOutcome:
        if not part.is_kept:
            part.discard()
        said = {"status": f"{status:04X}", "calling_ae": request.calling_ae, "sop_class": request.sop_class_uid}
        logger.warning("object.refused", extra={**said, **facts})
        if counted:
            self._count(REFUSED, f"{status:04X}")
        return StoreOutcome(status=status)

    def _count(self, name: str, label: str = "") -> None:
        """Count, unless the database is away: a counter is no reason to change an answer."""
        try:
            self._records.count(name, label)
        except TransientError as error:
            logger.info("counter.lost", extra={"counter": name, "code": error.code.value})
