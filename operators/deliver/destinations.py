"""Which document goes where: a draft and the settings enter, outbox entries leave. Pure."""

from operators.deliver.config import DeliverConfig
from operators.domain.drafts import DraftReport, OutboxEntry


def entries_for(draft: DraftReport, config: DeliverConfig) -> tuple[OutboxEntry, ...]:
    """Return an entry for every document that a destination takes, in the draft's order; () in shadow mode."""
    if not config.enabled:
        return ()
    return tuple(
        OutboxEntry(study_uid=draft.study_uid, revision=draft.revision, destination=destination.name, document=document)
        for destination in config.destinations
        for document in draft.documents
        if document.kind in destination.kinds
    )
