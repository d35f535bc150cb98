"""The settings enter, a sender for each archive leaves."""

from operators.deliver.config import DeliverConfig
from operators.deliver.cstore import CStoreSender
from operators.deliver.stow import StowSender
from operators.domain.drafts import Sender
from operators.domain.ids import Destination


def pacs_senders(config: DeliverConfig) -> dict[Destination, Sender]:
    """Return the senders by their destinations' names; none in shadow mode. Raises ConfigError for unusable files."""
    if not config.enabled:
        return {}
    senders: dict[Destination, Sender] = {to.name: StowSender(to) for to in config.stow}
    senders.update({to.name: CStoreSender(to) for to in config.cstore})
    return senders
