"""The frozen searches: what was decided for a revision, kept once in table prior_searches and never changed.

Also what merges of patients say of whom to ask for: the table patient_merges, which others write.
"""

from datetime import datetime

from operators.domain.codec import from_plain, to_json
from operators.domain.database import Pool, transaction
from operators.domain.ids import Revision, StudyUid
from operators.domain.messages import Patient, PriorDecision, PriorOutcome, PriorSearch
from operators.domain.patient_keys import patient_of
from operators.priors.candidates import FrozenSearch, WantedImage

_LOAD = """
SELECT outcome, sentence, searched_at, decisions, images FROM prior_searches WHERE study_uid = %s AND revision = %s"""

_FREEZE = """
INSERT INTO prior_searches (study_uid, revision, outcome, sentence, searched_at, decisions, images)
VALUES (%(study_uid)s, %(revision)s, %(outcome)s, %(sentence)s, %(searched_at)s, %(decisions)s, %(images)s)
ON CONFLICT (study_uid, revision) DO NOTHING"""

_FIRST_TRIED = """
SELECT coalesce(started_at, closed_at, opened_at) AS first_tried_at FROM revisions
WHERE study_uid = %s AND revision = %s"""

_MERGED = """
SELECT former_key, current_key FROM patient_merges WHERE current_key IN
    (SELECT current_key FROM patient_merges WHERE former_key = %(key)s OR current_key = %(key)s)"""


class PriorSearches:
    """Table prior_searches. Every method raises TransientError(DATABASE_AWAY) when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def load(self, study_uid: StudyUid, revision: Revision) -> FrozenSearch | None:
        """Return the frozen search of a revision, if it was searched for."""
        with transaction(self._pool) as connection:
            row = connection.execute(_LOAD, (study_uid, int(revision))).fetchone()
        if row is None:
            return None
        search = PriorSearch(
            outcome=PriorOutcome(row["outcome"]),
            decisions=from_plain(tuple[PriorDecision, ...], row["decisions"]),
            searched_at=row["searched_at"],
            sentence=row["sentence"],
        )
        return FrozenSearch(search=search, images=from_plain(tuple[WantedImage, ...], row["images"]))

    def freeze(self, study_uid: StudyUid, revision: Revision, found: FrozenSearch) -> FrozenSearch:
        """Keep the search unless one is kept already; return the one that is kept."""
        values = {
            "study_uid": study_uid,
            "revision": int(revision),
            "outcome": found.search.outcome.value,
            "sentence": found.search.sentence,
            "searched_at": found.search.searched_at,
            "decisions": to_json(tuple[PriorDecision, ...], found.search.decisions),
            "images": to_json(tuple[WantedImage, ...], found.images),
        }
        with transaction(self._pool) as connection:
            connection.execute(_FREEZE, values)
        kept = self.load(study_uid, revision)
        return found if kept is None else kept

    def first_tried_at(self, study_uid: StudyUid, revision: Revision) -> datetime | None:
        """Return when work on the revision first began; None when the revision is unknown."""
        with transaction(self._pool) as connection:
            row = connection.execute(_FIRST_TRIED, (study_uid, int(revision))).fetchone()
        return None if row is None else row["first_tried_at"]

    def also_known_as(self, patient: Patient) -> tuple[Patient, ...]:
        """Return the identifiers that were merged with a patient's, the one in use now first; without demographics."""
        with transaction(self._pool) as connection:
            rows = connection.execute(_MERGED, {"key": patient.key}).fetchall()
        current = {row["current_key"] for row in rows}
        former = sorted(row["former_key"] for row in rows)
        return tuple(patient_of(key) for key in (*current, *former) if key != patient.key)
