"""The draft that a new draft replaces: (study, revision) enters, a reference to the earlier SR leaves, or None."""

from dataclasses import dataclass
from io import BytesIO
from typing import Final, Protocol

from pydicom import dcmread

from operators.domain.database import Pool, transaction
from operators.domain.drafts import DocumentKind
from operators.domain.ids import InstanceUid, Revision, SeriesUid, StudyUid

# The latest that an archive has or, since a destination gets revisions in order, will have first: else two drafts would
# name the same predecessor and none of them the other. What an archive refused it cannot be referred to.
_LATEST_SR: Final = """
SELECT d.content
FROM documents d JOIN outbox o ON o.identity = d.identity
WHERE d.study_uid = %(study_uid)s AND d.revision < %(revision)s AND d.kind = %(kind)s AND o.state <> 'parked'
ORDER BY d.revision DESC
LIMIT 1
"""
_REFERENCE_KEYWORDS: Final = ["StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SrReference:
    """A structured report, as another object refers to it."""

    study_uid: StudyUid
    series_uid: SeriesUid
    instance_uid: InstanceUid
    sop_class_uid: str


class Predecessors(Protocol):
    """Knows the drafts that were given out before."""

    def predecessor_of(self, study_uid: StudyUid, revision: Revision) -> SrReference | None:
        """Return the latest earlier draft's SR; None when there is none. Raises TransientError when it cannot know."""
        ...


class FiledPredecessors:
    """Predecessors from the database: the latest earlier revision whose SR was sent; without one, whose SR waits.

    A draft that never left the node (shadow mode, refused or discarded deliveries) is nobody's predecessor: the archive
    could not follow the reference.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def predecessor_of(self, study_uid: StudyUid, revision: Revision) -> SrReference | None:
        """Return the reference as the filed document itself says it. Raises TransientError(DATABASE_AWAY)."""
        facts = {"study_uid": study_uid, "revision": int(revision), "kind": DocumentKind.SR.value}
        with transaction(self._pool) as connection:
            row = connection.execute(_LATEST_SR, facts).fetchone()
        if row is None:
            return None
        ds = dcmread(BytesIO(bytes(row["content"])), specific_tags=_REFERENCE_KEYWORDS)
        return SrReference(
            study_uid=StudyUid(str(ds.StudyInstanceUID)),
            series_uid=SeriesUid(str(ds.SeriesInstanceUID)),
            instance_uid=InstanceUid(str(ds.SOPInstanceUID)),
            sop_class_uid=str(ds.SOPClassUID),
        )
