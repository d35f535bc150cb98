"""The notify stage: a draft enters, one ORU message per RIS leaves for the outbox."""

import logging

from operators.domain.drafts import Dispatches, DraftReport, OutboxEntry
from operators.notify.config import NotifyConfig
from operators.notify.oru import build_oru

logger = logging.getLogger(__name__)


class NotifyStage:
    """Writes the messages; carrying them is the outbox's work, with a MllpSender."""

    def __init__(self, config: NotifyConfig) -> None:
        self.config = config
        for warning in config.warnings():
            logger.warning("notify.setting_unwise", extra={"sentence": warning})

    def __call__(self, draft: DraftReport) -> Dispatches:
        """Write one message per destination; none in shadow mode. Raises PermanentError(REPORT_INVALID)."""
        destinations = self.config.destinations if self.config.enabled else ()
        return Dispatches(
            draft=draft,
            entries=tuple(
                OutboxEntry(
                    study_uid=draft.study_uid,
                    revision=draft.revision,
                    destination=destination.name,
                    document=build_oru(draft, destination),
                )
                for destination in destinations
            ),
        )
