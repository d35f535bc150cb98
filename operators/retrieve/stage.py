"""The retrieve stage: an encoded case enters, is kept in the index, and leaves with the similar cases of others."""

from dataclasses import replace
from typing import Protocol

from operators.domain.ids import StudyUid
from operators.domain.messages import BundleRef, EncodedCase, EncodedStudy, RetrievedCase, SimilarCase
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.index import EmbeddingRow, Question
from operators.retrieve.patients import is_known, withheld_for
from operators.retrieve.ranking import Candidate, similar_cases


class SimilarityIndex(Protocol):
    """What the stage needs of an index."""

    def store(self, bundle: BundleRef, rows: list[EmbeddingRow]) -> None:
        """Keep the rows; harmless when they are kept already."""
        ...

    def nearest(self, bundle: BundleRef, question: Question) -> dict[int, tuple[Candidate, ...]]:
        """Return for each entity the nearest case of each patient, nearest first."""
        ...


class RetrieveStage:
    """Stores the embeddings of a patient's current and prior images and finds cases of other patients."""

    def __init__(self, index: SimilarityIndex, config: RetrieveConfig) -> None:
        self._index = index
        self._config = config

    def __call__(self, case: EncodedCase) -> RetrievedCase:
        """Store, then look. Raises TransientError(DATABASE_AWAY), PermanentError(BUNDLE_UNUSABLE), ConfigError."""
        self.keep(case)
        return RetrievedCase(encoded=case, similar=self._similar(case, (case.current, *case.priors)))

    def keep(self, case: EncodedCase) -> None:
        """Store the case's embeddings alone. Raises TransientError(DATABASE_AWAY), PermanentError(BUNDLE_UNUSABLE)."""
        rows = [row for encoded in (case.current, *case.priors) for row in _rows(encoded)]
        self._index.store(case.bundle, rows)

    def _similar(self, case: EncodedCase, studies: tuple[EncodedStudy, ...]) -> tuple[SimilarCase, ...]:
        """Return the similar cases, entity by entity; () when nobody knows whose the current study is."""
        if not is_known(case.current.study.patient):
            return ()
        question = Question(
            embeddings={reading.entity.index: reading.embedding for reading in case.current.readings},
            withheld=withheld_for(encoded.study.patient for encoded in studies),
            withheld_studies=_study_uids(case),
            limit=self._config.cases_per_entity,
        )
        found = self._index.nearest(case.bundle, question)
        measured = {reading.entity.index for reading in case.current.readings if reading.entity.is_measured}
        return tuple(
            similar if entity in measured else replace(similar, presence_prob=None)
            for entity in question.embeddings
            for similar in similar_cases(found.get(entity, ()))
        )


def _study_uids(case: EncodedCase) -> tuple[StudyUid, ...]:
    """Return the current study and every study that the search for priors found, chosen or not."""
    candidates = (decision.study_uid for decision in case.search.decisions)
    read = (encoded.study.study_uid for encoded in case.priors)
    return tuple(dict.fromkeys((case.current.study.study_uid, *read, *candidates)))


def _rows(encoded: EncodedStudy) -> list[EmbeddingRow]:
    study, header = encoded.study, encoded.image.header
    if not is_known(study.patient):
        return []
    return [
        EmbeddingRow(
            entity_index=reading.entity.index,
            instance_uid=header.instance_uid,
            study_uid=study.study_uid,
            patient_key=study.patient.key,
            modality=header.modality,
            body_part=header.body_part,
            study_date=study.study_date,
            presence_prob=reading.presence_prob,
            embedding=reading.embedding,
        )
        for reading in encoded.readings
    ]
