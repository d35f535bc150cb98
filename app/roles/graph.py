"""Run a long-lived graph on the main thread until a stop signal has drained it."""

import threading
from collections.abc import Callable

from app import signals
from app.beats import Beats
from app.pipeline import ReceiveApplication, WorkApplication


def run_graph(graph: ReceiveApplication | WorkApplication, *, stop: Callable[[], None], beats: Beats) -> None:
    """Run the graph; `stop` is called once, on a stop signal, and must lead to the end of the graph's source."""
    ended = threading.Event()
    watcher = signals.on_stop(stop, ended)
    beats.start()
    try:
        graph.run()
    finally:
        ended.set()
        watcher.join()
        beats.stop()
