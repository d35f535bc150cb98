"""Settings in, the objects of a role out: the one place where stages meet their adapters."""

import logging

from app.pipeline import WorkStages
from app.settings import SOFTWARE_VERSION, Settings
from models.encoder.engine import EncoderModel
from operators.compare.stage import CompareStage
from operators.deliver.senders import pacs_senders
from operators.deliver.stage import DeliverStage
from operators.domain.clock import Clock
from operators.domain.database import Pool
from operators.domain.drafts import Sender
from operators.domain.errors import ConfigError
from operators.domain.ids import AeTitle, Destination
from operators.encode.stage import EncodeStage
from operators.notify.mllp import MllpSender
from operators.notify.stage import NotifyStage
from operators.priors.dicomweb import DicomWebArchive
from operators.priors.repository import PriorSearches
from operators.priors.stage import PriorsStage
from operators.report.node import NodeIdentity
from operators.report.predecessor import FiledPredecessors
from operators.report.stage import ReportStage
from operators.retrieve.index import PgVectorIndex
from operators.retrieve.stage import RetrieveStage

logger = logging.getLogger(__name__)


def work_stages(settings: Settings, pool: Pool, clock: Clock, model: EncoderModel) -> WorkStages:
    """Return the stages of the work role. Raises ConfigError for a bundle or file that cannot be used."""
    archive = DicomWebArchive(settings.priors) if settings.priors.url else None
    searches = PriorSearches(pool)
    return WorkStages(
        priors=PriorsStage(settings.priors, archive, searches, settings.node.spool_dir, clock),
        encode=EncodeStage(model, settings.encode),
        retrieve=RetrieveStage(PgVectorIndex(pool, settings.retrieve), settings.retrieve),
        compare=CompareStage(settings.compare),
        report=ReportStage(
            settings.report, node=node_identity(settings), clock=clock, predecessors=FiledPredecessors(pool)
        ),
        deliver=DeliverStage(settings.pacs),
        notify=NotifyStage(settings.notify),
    )


def node_identity(settings: Settings) -> NodeIdentity:
    """Return who the node is in the objects it writes."""
    return NodeIdentity(
        uid_root=settings.node.uid_root,
        ae_title=AeTitle(settings.receive.ae_title),
        device_serial_number=settings.node.device_serial_number,
        institution=settings.node.institution,
        station_name=settings.node.station_name,
        software_version=SOFTWARE_VERSION,
        timezone=settings.node.timezone,
    )


def senders(settings: Settings, clock: Clock) -> dict[Destination, Sender]:
    """Return the senders of all destinations by name. Raises ConfigError when two destinations share a name."""
    to_pacs = pacs_senders(settings.pacs)
    to_ris: dict[Destination, Sender] = {
        destination.name: MllpSender(destination, clock)
        for destination in settings.notify.destinations
        if settings.notify.enabled
    }
    shared = to_pacs.keys() & to_ris.keys()
    if shared:
        raise ConfigError(f"pacs and notify both have a destination {min(shared)}: names must differ")
    return {**to_pacs, **to_ris}
