"""A stage that runs side by side on what waits, in a real graph of a process of its own."""

import subprocess
import sys

GRAPH = '''
import sys, threading, time
from operators.domain.inbox import Inbox
from operators.domain.items import Item, Stopped
from operators.domain.messages import StudyJob
from operators.domain.errors import PermanentError
from operators.domain.reasons import ReasonCode
from operators.domain.stage import ParallelStageOperator, SourceOperator, StageOperator
from holoscan.schedulers import EventBasedScheduler
from monai.deploy.core import Application, Operator

ITEMS, AT_ONCE = 12, 3
inbox, seen = Inbox(), []
together = threading.Barrier(AT_ONCE)

def meet(value):
    """The first item keeps the stage busy until others wait; the next three end only if all are inside; one fails."""
    if value == 0:
        time.sleep(1.0)
    if 1 <= value <= AT_ONCE:
        together.wait(30)
    if value == 6:
        raise PermanentError(ReasonCode.DECODE_FAILED)
    return value

def keep(value):
    return value

class Keep(Operator):
    def setup(self, spec):
        spec.input("in")

    def compute(self, op_input, op_output, context):
        item = op_input.receive("in")
        seen.append(item.error.code.value if isinstance(item, Stopped) else item.value)

class Graph(Application):
    def __init__(self):
        super().__init__([sys.executable, "graph"])
        self.scheduler(EventBasedScheduler(self, name="scheduler", worker_thread_number=3))

    def compose(self):
        source = SourceOperator(self, name="source", inbox=inbox)
        parallel = ParallelStageOperator(self, name="parallel", run=meet, waiting=AT_ONCE)
        behind = StageOperator(self, name="behind", run=keep, waiting=AT_ONCE)
        end = Keep(self, name="keep")
        self.add_flow(source, parallel, {("out", "in")})
        self.add_flow(parallel, behind, {("out", "in")})
        self.add_flow(behind, end, {("out", "in")})

gate = Item(job=StudyJob(study_uid="1.2", revision=1), value=0)
for value in range(ITEMS):
    inbox.put(Item(job=gate.job, value=value))
inbox.close()
Graph().run()
print("SEEN", seen)
'''


def test_items_that_wait_are_worked_on_side_by_side_and_keep_their_order() -> None:
    ran = subprocess.run([sys.executable, "-c", GRAPH], check=False, capture_output=True, text=True, timeout=120)
    expected = [value if value != 6 else "decode-failed" for value in range(12)]
    assert f"SEEN {expected}" in ran.stdout, ran.stderr[-2000:]
