"""The work role: jobs go through the graph, drafts into the outbox, the outbox to PACS and RIS."""

import logging
import threading

from app import wiring
from app.beats import Beats
from app.desk import Desk
from app.engines import model_of
from app.housekeeping import Chores, Housekeeping
from app.pipeline import WorkApplication
from app.reindexing import Reading, Reindexing
from app.revisions import Revisions
from app.roles.graph import run_graph
from app.settings import Settings
from app.worker import JobWorker
from operators.assemble.reading import StudyReader
from operators.deliver.dispatch import Dispatcher
from operators.deliver.outbox import Outbox, file_draft
from operators.domain.clock import SystemClock
from operators.domain.database import Pool, open_pool, transaction
from operators.domain.errors import TransientError
from operators.priors.files import PriorFiles
from operators.retrieve.tables import check_pgvector

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until a stop signal. Raises ConfigError for what cannot be used."""
    clock = SystemClock()
    with open_pool(settings.database_url, max_size=settings.work.concurrency + 8) as pool:
        _check_database(pool)
        model = model_of(settings)
        stages = wiring.work_stages(settings, pool, clock, model)
        revisions = Revisions(pool)
        outbox = Outbox(pool)
        desk = Desk(
            revisions=revisions,
            load=StudyReader(pool, settings.node.spool_dir).load,
            file_draft=file_draft,
            clock=clock,
            config=settings.work,
        )
        dispatcher = Dispatcher(outbox, wiring.senders(settings, clock), clock=clock, config=settings.pacs.outbox)
        desk.on_filed = dispatcher.wake
        worker = JobWorker(
            database_url=settings.database_url,
            desk=desk,
            revisions=revisions,
            concurrency=settings.work.concurrency,
        )
        graph = WorkApplication(
            jobs=desk.inbox,
            stages=stages,
            settle=desk.settle,
            worker_threads=settings.work.worker_threads,
            studies=settings.work.concurrency,
        )

        def stop() -> None:
            desk.hasten()
            worker.stop()
            desk.stop()

        chores = Housekeeping(
            Chores(
                pool=pool,
                clock=clock,
                bundle_id=model.info.bundle_id,
                hnsw_from_rows=settings.retrieve.hnsw_from_rows,
                priors=PriorFiles(settings.node.spool_dir),
                keep_priors_days=settings.receive.spool.keep_days,
            )
        )
        encode, retrieve = stages.encode, stages.retrieve
        reading = Reading(load=StudyReader(pool, settings.node.spool_dir).load, encode=encode, keep=retrieve.keep)
        reindexing = Reindexing(pool, model.info.bundle_id, reading, clock)
        finished = threading.Event()
        sending = threading.Thread(target=dispatcher.run, args=(finished,), name="dispatcher", daemon=True)
        sending.start()
        chores.start()
        reindexing.start()
        worker.start()
        try:
            run_graph(graph, stop=stop, beats=Beats(pool, "work"))
        finally:
            desk.abandon()
            worker.stop()
            chores.stop()
            reindexing.stop()
            finished.set()
            sending.join()


def _check_database(pool: Pool) -> None:
    """Raise ConfigError for a database whose pgvector is too old; one that is away is asked when it is first used."""
    try:
        with transaction(pool) as connection:
            check_pgvector(connection)
    except TransientError as error:
        logger.warning("database.not_checked", extra={"code": error.code.value})
