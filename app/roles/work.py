"""The work role: jobs go through the graph, drafts into the outbox, the outbox to PACS and RIS."""

import threading

from app import wiring
from app.beats import Beats
from app.desk import Desk
from app.pipeline import WorkApplication
from app.revisions import Revisions
from app.roles.graph import run_graph
from app.settings import Settings
from app.worker import JobWorker
from operators.assemble.reading import StudyReader
from operators.deliver.dispatch import Dispatcher
from operators.deliver.outbox import Outbox, file_draft
from operators.domain.clock import SystemClock
from operators.domain.database import open_pool


def serve(settings: Settings) -> None:
    """Serve until a stop signal. Raises ConfigError for what cannot be used."""
    clock = SystemClock()
    with open_pool(settings.database_url, max_size=settings.work.concurrency + 6) as pool:
        stages = wiring.work_stages(settings, pool, clock)
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
            jobs=desk.inbox, stages=stages, settle=desk.settle, worker_threads=settings.work.worker_threads
        )

        def stop() -> None:
            worker.stop()
            desk.stop()

        finished = threading.Event()
        sending = threading.Thread(target=dispatcher.run, args=(finished,), name="dispatcher")
        sending.start()
        worker.start()
        run_graph(graph, stop=stop, beats=Beats(pool, "work"))
        finished.set()
        sending.join()
