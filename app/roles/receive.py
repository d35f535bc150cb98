"""The receive role: listeners store, the graph assembles, closed studies become jobs; the RIS is listened to."""

from multiprocessing import resource_tracker

from app import logs, signals
from app.beats import Beats
from app.jobs import enqueue
from app.pipeline import ReceiveApplication
from app.roles.graph import run_graph
from app.settings import Settings
from operators.assemble.assembler import Assembler
from operators.assemble.stage import AssembleStage
from operators.domain.clock import Clock, SystemClock
from operators.domain.database import Pool, open_pool
from operators.domain.inbox import Inbox
from operators.domain.messages import StoredInstance
from operators.patients.taker import AdtTaker
from operators.receive.receiver import Receiver
from operators.receive.retention import SpoolKeeper
from operators.receive.spool import Spool
from operators.ris.inbox import RisInbox
from operators.ris.listener import RisListener


def serve(settings: Settings) -> None:
    """Serve until a stop signal. Raises ConfigError for what cannot be used."""
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
        spool = Spool(
            settings.node.spool_dir, writer="keeper", refuse_below_mib=settings.receive.spool.refuse_below_mib
        )
        keeper = SpoolKeeper(pool=pool, spool=spool, clock=clock, config=settings.receive.spool)
        graph = ReceiveApplication(stored=stored, assemble=assemble)
        ris = ris_listener(settings, pool, clock) if settings.ris.enabled else None

        def stop() -> None:
            receiver.stop()
            if ris is not None:
                ris.stop()

        resource_tracker.ensure_running()
        signals.block()  # multiprocessing starts its tracker with the stop signals unblocked, and leaves them so
        if ris is not None:
            ris.start()
        receiver.start()
        keeper.start()
        try:
            run_graph(graph, stop=stop, beats=Beats(pool, "receive"))
        finally:
            stop()
            keeper.stop()


def ris_listener(settings: Settings, pool: Pool, clock: Clock) -> RisListener:
    """Return the listener for HL7 messages, with who serves which type."""
    inbox = RisInbox(pool, {"ADT": AdtTaker(settings.patients, clock)})
    return RisListener(settings.ris, inbox, clock)


def set_up_listener() -> None:
    """Make a listener process part of the house: its logs, and its end with its parent's."""
    signals.die_with_parent()
    logs.configure()
    logs.hold_tracebacks()
