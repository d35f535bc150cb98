"""The three roles, each the main thread of a process of its own: receive, work, web. All end in order on SIGTERM."""

import logging
import socket
import threading
from collections.abc import Callable

import uvicorn

from app import logs, signals, wiring
from app.beats import Beats
from app.desk import Desk
from app.jobs import enqueue
from app.overview import Overview
from app.pipeline import ReceiveApplication, WorkApplication
from app.revisions import Revisions
from app.settings import Settings
from app.web.server import Rooms, create_app
from app.web.signin import SignIn
from app.worker import JobWorker
from operators.assemble.assembler import Assembler
from operators.assemble.reading import StudyReader
from operators.assemble.stage import AssembleStage
from operators.deliver.dispatch import Dispatcher
from operators.deliver.outbox import Outbox, file_draft
from operators.domain.clock import SystemClock
from operators.domain.database import open_pool
from operators.domain.errors import ConfigError
from operators.domain.inbox import Inbox
from operators.domain.messages import StoredInstance
from operators.domain.reasons import ReasonCode
from operators.receive.receiver import Receiver

logger = logging.getLogger(__name__)

ROLES = ("receive", "work", "web")


def serve(role: str, settings: Settings) -> int:
    """Serve one role until a stop signal; return the exit code. Raises ConfigError, PrerequisiteMissingError."""
    {"receive": _receive, "work": _work, "web": _web}[role](settings)
    return 0


def set_up_listener() -> None:
    """Make a listener process part of the house: its logs, and its end with its parent's."""
    signals.die_with_parent()
    logs.configure()


def _receive(settings: Settings) -> None:
    clock = SystemClock()
    stored: Inbox[tuple[StoredInstance, ...]] = Inbox()
    with open_pool(settings.database_url, max_size=4) as pool:
        receiver = Receiver(
            config=settings.receive,
            database_url=settings.database_url,
            spool_root=settings.node.spool_dir,
            inbox=stored,
            set_up_process=set_up_listener,
        )
        assembler = Assembler(pool, enqueue=enqueue, clock=clock, config=settings.assemble)
        assemble = AssembleStage(close_due=assembler.close_due, clock=clock, config=settings.assemble)
        graph = ReceiveApplication(stored=stored, assemble=assemble)
        receiver.start()
        _run_graph(graph, stop=receiver.stop, beats=Beats(pool, "receive"))


def _work(settings: Settings) -> None:
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
        _run_graph(graph, stop=stop, beats=Beats(pool, "work"))
        finished.set()
        sending.join()


def _run_graph(graph: ReceiveApplication | WorkApplication, *, stop: Callable[[], None], beats: Beats) -> None:
    ended = threading.Event()
    watcher = signals.on_stop(stop, ended)
    beats.start()
    try:
        graph.run()
    finally:
        ended.set()
        watcher.join()
        beats.stop()


def _web(settings: Settings) -> None:
    _refuse_taken(settings.web.bind, settings.web.port)
    with open_pool(settings.database_url, max_size=8, wait_s=2.0) as pool:
        overview = Overview(pool)
        rooms = Rooms(
            pool=pool,
            overview=overview,
            revisions=Revisions(pool),
            signin=SignIn(wiring.web_token(settings)),
            clock=SystemClock(),
            viewer_url=settings.web.viewer_url,
        )
        config = uvicorn.Config(
            create_app(rooms), host=settings.web.bind, port=settings.web.port, log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        ended = threading.Event()

        def stop() -> None:
            server.should_exit = True

        watcher = signals.on_stop(stop, ended)
        beats = Beats(pool, "web")
        beats.start()
        server.run()
        ended.set()
        watcher.join()
        beats.stop()


def _refuse_taken(bind: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as exc:
            raise ConfigError(f"The web port {port} on {bind} is taken.", ReasonCode.PORT_IN_USE) from exc
