"""A study enters; the study with the priors it is compared with, and what the search came to, leave.

The search is frozen after the chosen priors lie on disk and before anything is encoded. Until then a retry asks again
and fetches only what is missing; after it the same revision never asks again.
"""

import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from operators.domain.clock import Clock
from operators.domain.errors import TransientError
from operators.domain.ids import Revision, StudyUid, pseudonym
from operators.domain.messages import CaseWithPriors, Patient, PriorDecision, PriorOutcome, PriorSearch, Study
from operators.domain.reasons import ReasonCode
from operators.priors.archive import WAITED_FOR, Answers, Archive
from operators.priors.candidates import FrozenSearch
from operators.priors.config import PriorsConfig, RelevanceRule
from operators.priors.delivery import Delivered, Delivery, Owner
from operators.priors.files import PriorFiles
from operators.priors.identity import under_own_name
from operators.priors.outcome import Hindrance, conclude, no_rule
from operators.priors.relevance import Choice, candidates_of, choose, refuse_unopened, rule_for

logger = logging.getLogger(__name__)


class Repository(Protocol):
    """Where searches are frozen."""

    def load(self, study_uid: StudyUid, revision: Revision) -> FrozenSearch | None:
        """Return the frozen search of a revision, if there is one."""
        ...

    def freeze(self, study_uid: StudyUid, revision: Revision, found: FrozenSearch) -> FrozenSearch:
        """Keep the search unless one is kept already; return the one that is kept."""
        ...

    def first_tried_at(self, study_uid: StudyUid, revision: Revision) -> datetime | None:
        """Return when work on the revision first began."""
        ...

    def also_known_as(self, patient: Patient) -> tuple[Patient, ...]:
        """Return the identifiers that were merged with a patient's, the one in use now first."""
        ...


class PriorsStage:
    """Finds, chooses and fetches the priors of a study.

    Raises TransientError while the PACS, its trust in us, the database or room on disk is lacking, PermanentError when
    the PACS refuses a request.
    """

    def __init__(
        self, config: PriorsConfig, archive: Archive | None, repository: Repository, spool_dir: Path, clock: Clock
    ) -> None:
        """Take the archive that `config.url` names; None where it names none."""
        self._config = config
        self._archive = archive
        self._repository = repository
        self._clock = clock
        self._delivery = Delivery(
            files=PriorFiles(spool_dir), archive=archive, trust_missing_issuer=config.trust_missing_issuer
        )

    def __call__(self, study: Study) -> CaseWithPriors:
        """Return the study with its priors; a revision that was searched before gets the same list."""
        frozen = self._repository.load(study.study_uid, study.revision)
        if frozen is not None:
            return self._case(study, frozen)
        search, delivered = self._search(study)
        found = FrozenSearch(search=search, images=delivered.images)
        kept = self._repository.freeze(study.study_uid, study.revision, found)
        if kept != found:
            return self._case(study, kept)
        _log(study, search)
        return CaseWithPriors(current=study, search=search, priors=delivered.priors)

    def _case(self, study: Study, frozen: FrozenSearch) -> CaseWithPriors:
        """Return the case of a frozen search; a prior that can no longer be had is left out, and the answer says so."""
        search = frozen.search
        delivered = self._deliver(study, Choice(decisions=search.decisions, images=frozen.images))
        if delivered.decisions != search.decisions:
            outcome, sentence = conclude(delivered.decisions)
            search = replace(search, outcome=outcome, sentence=sentence, decisions=delivered.decisions)
        return CaseWithPriors(current=study, search=search, priors=delivered.priors)

    def _search(self, study: Study) -> tuple[PriorSearch, Delivered]:
        rule = rule_for(study, self._config.rules)
        if rule is None:
            return self._without_priors(*no_rule(study.modalities))
        if self._archive is None:
            return self._without_priors(PriorOutcome.COULD_NOT_ASK, Hindrance.NO_PACS.value)
        if not study.patient.patient_id.strip():
            return self._without_priors(PriorOutcome.COULD_NOT_ASK, Hindrance.NO_PATIENT_ID.value)
        try:
            choice, is_complete = self._choose(study, rule, self._archive)
        except TransientError as error:
            if error.code not in WAITED_FOR or not self._is_late(study):
                raise
            hindrance = Hindrance.PACS_REFUSED if error.code is ReasonCode.PACS_REFUSED else Hindrance.PACS_AWAY
            return self._without_priors(PriorOutcome.COULD_NOT_ASK, hindrance.value)
        delivered = self._deliver(study, choice)
        outcome, sentence = conclude(delivered.decisions, is_complete=is_complete)
        return self._answer(outcome, sentence, delivered.decisions), delivered

    def _choose(self, study: Study, rule: RelevanceRule, archive: Archive) -> tuple[Choice, bool]:
        answers = self._ask(study.patient, archive)
        candidates = list(candidates_of(study, answers.candidates))
        opened = 0
        for index, candidate in enumerate(candidates):
            if opened < self._config.max_opened and refuse_unopened(study, candidate, rule, self._config) is None:
                candidates[index] = archive.open_study(candidate, rule.prior_modalities)
                opened += 1
        others = len({answer.study_uid for answer in answers.candidates}) - len(candidates)
        facts = {"study": pseudonym(study.study_uid), "candidates": len(candidates), "opened": opened, "others": others}
        logger.info("priors.asked", extra=facts)
        return choose(study, candidates, rule, self._config), answers.is_complete

    def _ask(self, patient: Patient, archive: Archive) -> Answers:
        """Ask for the patient by every identifier he has had; answers bear the one that the study has."""
        merged = self._repository.also_known_as(patient)
        wanted = [patient, *(merged if self._config.ask_former_ids else merged[:1])]
        asked = [archive.find_studies(patient_id) for patient_id in dict.fromkeys(p.patient_id.strip() for p in wanted)]
        trust = self._config.trust_missing_issuer
        named = (
            replace(found, patient=under_own_name(patient, merged, found.patient, trust_missing_issuer=trust))
            for answers in asked
            for found in answers.candidates
        )
        return Answers(candidates=tuple(named), is_complete=all(answers.is_complete for answers in asked))

    def _deliver(self, study: Study, choice: Choice) -> Delivered:
        owner = Owner(patient=study.patient, merged=self._repository.also_known_as(study.patient))
        return self._delivery.deliver(owner, choice, is_late=lambda: self._is_late(study))

    def _is_late(self, study: Study) -> bool:
        """Whether the PACS has been waited for long enough."""
        began = self._repository.first_tried_at(study.study_uid, study.revision)
        return began is not None and (self._clock.now() - began).total_seconds() >= self._config.give_up_after_s

    def _without_priors(self, outcome: PriorOutcome, sentence: str) -> tuple[PriorSearch, Delivered]:
        return self._answer(outcome, sentence, ()), Delivered(priors=(), images=(), decisions=())

    def _answer(self, outcome: PriorOutcome, sentence: str, decisions: tuple[PriorDecision, ...]) -> PriorSearch:
        return PriorSearch(outcome=outcome, decisions=decisions, searched_at=self._clock.now(), sentence=sentence)


def _log(study: Study, search: PriorSearch) -> None:
    facts = {
        "study": pseudonym(study.study_uid),
        "outcome": search.outcome.value,
        "decisions": [decision.reason_code for decision in search.decisions],
    }
    logger.info("priors.searched", extra=facts)
