r"""The node as MONAI Deploy Applications: compose() draws the edges of a role in the order of the data's way.

receive role    receive -> assemble
work role       jobs -> priors -> encode -> retrieve -> compare -> report -> deliver -> settle
                                                                          \-> notify  -/
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from operators.assemble.shell import AssembleOperator
from operators.compare.shell import CompareOperator
from operators.deliver.shell import DeliverOperator
from operators.domain import cuda_runtime
from operators.domain.drafts import Dispatches, DraftReport
from operators.domain.inbox import Inbox
from operators.domain.items import Item, Stopped
from operators.domain.messages import (
    CaseWithPriors,
    ComparedCase,
    EncodedCase,
    RetrievedCase,
    StoredInstance,
    Study,
    StudyJob,
)
from operators.domain.stage import SourceOperator
from operators.encode.shell import EncodeOperator
from operators.notify.shell import NotifyOperator
from operators.priors.shell import PriorsOperator
from operators.receive.shell import ReceiveOperator
from operators.report.shell import ReportOperator
from operators.retrieve.shell import RetrieveOperator
from operators.retrieve.stage import RetrieveStage

cuda_runtime.preload()

from holoscan.schedulers import EventBasedScheduler  # noqa: E402 - needs the preloaded library
from monai.deploy.core import Application, Operator, OperatorSpec  # noqa: E402 - needs the preloaded library

logger = logging.getLogger(__name__)
_NEXT = {("out", "in")}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStages:
    """The stages of the work role, in their order."""

    priors: Callable[[Study], CaseWithPriors]
    encode: Callable[[CaseWithPriors], EncodedCase]
    retrieve: RetrieveStage
    compare: Callable[[RetrievedCase], ComparedCase]
    report: Callable[[ComparedCase], DraftReport]
    deliver: Callable[[DraftReport], Dispatches]
    notify: Callable[[DraftReport], Dispatches]


class JobSource(SourceOperator):
    """The source of the work role: takes jobs, as studies read from the spool."""


class Settle(Operator):  # type: ignore[misc] # holoscan ships no types
    """The end of the work role: what deliver and notify want sent is committed with the draft, and the job ends."""

    def __init__(self, *args: Any, settle: Callable[[Item | Stopped, Item | Stopped], None], **kwargs: Any) -> None:
        self.settle = settle
        super().__init__(*args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports: both items are of the same job, since every operator keeps the order."""
        spec.input("delivered")
        spec.input("notified")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Commit one job."""
        del op_output, context
        self.settle(op_input.receive("delivered"), op_input.receive("notified"))


class WorkApplication(Application):  # type: ignore[misc] # holoscan ships no types
    """The graph of the work role; `studies` of them may be encoded side by side."""

    def __init__(
        self,
        *,
        jobs: Inbox[Item | Stopped],
        stages: WorkStages,
        settle: Callable[[Item | Stopped, Item | Stopped], None],
        worker_threads: int,
        studies: int,
    ) -> None:
        self._studies = studies
        self._jobs = jobs
        self._stages = stages
        self._settle = settle
        super().__init__([sys.executable, "interval"])
        self.scheduler(EventBasedScheduler(self, name="scheduler", worker_thread_number=worker_threads))

    def compose(self) -> None:
        """Draw the graph."""
        jobs = JobSource(self, name="jobs", inbox=self._jobs)
        priors = PriorsOperator(self, name="priors", run=self._stages.priors)
        encode = EncodeOperator(self, name="encode", run=self._stages.encode, waiting=self._studies)
        retrieve = RetrieveOperator(self, name="retrieve", run=self._stages.retrieve, waiting=self._studies)
        compare = CompareOperator(self, name="compare", run=self._stages.compare)
        report = ReportOperator(self, name="report", run=self._stages.report)
        deliver = DeliverOperator(self, name="deliver", run=self._stages.deliver)
        notify = NotifyOperator(self, name="notify", run=self._stages.notify)
        settle = Settle(self, name="settle", settle=self._settle)

        self.add_flow(jobs, priors, _NEXT)
        self.add_flow(priors, encode, _NEXT)
        self.add_flow(encode, retrieve, _NEXT)
        self.add_flow(retrieve, compare, _NEXT)
        self.add_flow(compare, report, _NEXT)
        self.add_flow(report, deliver, _NEXT)
        self.add_flow(report, notify, _NEXT)
        self.add_flow(deliver, settle, {("out", "delivered")})
        self.add_flow(notify, settle, {("out", "notified")})


class ReceiveApplication(Application):  # type: ignore[misc] # holoscan ships no types
    """The graph of the receive role."""

    def __init__(
        self,
        *,
        stored: Inbox[tuple[StoredInstance, ...]],
        assemble: Callable[[tuple[StoredInstance, ...]], tuple[StudyJob, ...]],
    ) -> None:
        self._stored = stored
        self._assemble = assemble
        super().__init__([sys.executable, "interval"])
        self.scheduler(EventBasedScheduler(self, name="scheduler", worker_thread_number=2))

    def compose(self) -> None:
        """Draw the graph."""
        receive = ReceiveOperator(self, name="receive", inbox=self._stored)
        assemble = AssembleOperator(self, name="assemble", run=self._assemble)

        self.add_flow(receive, assemble, _NEXT)
