"""The deliver stage: a DraftReport enters, what is to be sent to which archive leaves. Sending is the outbox's work."""

from operators.deliver.config import DeliverConfig
from operators.deliver.destinations import entries_for
from operators.domain.drafts import Dispatches, DraftReport


class DeliverStage:
    """Addresses a draft's DICOM documents."""

    def __init__(self, config: DeliverConfig) -> None:
        self._config = config

    def __call__(self, draft: DraftReport) -> Dispatches:
        """Address the draft; nothing is addressed in shadow mode."""
        return Dispatches(draft=draft, entries=entries_for(draft, self._config))
