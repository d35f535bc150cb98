"""The Holoscan operator that every stage's shell is: receive an item, run the stage on it, emit what came of it.

This is the single top boundary: whatever a stage raises becomes a Stopped item that travels on to the end of the graph,
where the study is retried or parked. An exception must never leave compute(): it would end the graph and all its work.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from operators.domain import cuda_runtime
from operators.domain.errors import NodeError, PermanentError
from operators.domain.ids import pseudonym
from operators.domain.inbox import Inbox
from operators.domain.messages import StudyJob
from operators.domain.reasons import ReasonCode

cuda_runtime.preload()

from holoscan.conditions import AsynchronousCondition, AsynchronousEventState  # noqa: E402 - needs the preloaded library
from monai.deploy.core import Fragment, Operator, OperatorSpec  # noqa: E402 - needs the preloaded library

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One job's value on an edge, and the seconds that each stage has taken so far."""

    job: StudyJob
    value: Any
    stage_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A job that a stage could not finish: where, and why."""

    job: StudyJob
    stage: str
    error: NodeError
    stage_s: dict[str, float] = field(default_factory=dict)


def attempt(stage: str, run: Callable[[Any], Any], item: Item | Stopped) -> Item | Stopped:
    """Run a stage on an item; a Stopped item passes through, an error becomes one."""
    if isinstance(item, Stopped):
        return item
    started_s = time.monotonic()
    try:
        value = run(item.value)
    except NodeError as error:
        _log_stop(stage, item.job, error)
        return Stopped(job=item.job, stage=stage, error=error, stage_s=item.stage_s)
    except Exception as exc:  # noqa: BLE001 - the one boundary: a defect parks its study, the node lives on
        kind = type(exc).__name__
        logger.error(  # noqa: TRY400 - a traceback can print values, and values can name a patient
            "stage.defect", extra={"stage": stage, "kind": kind, "at": _where(exc)}
        )
        defect = PermanentError(ReasonCode.INTERNAL_ERROR, stage=stage, kind=kind)
        return Stopped(job=item.job, stage=stage, error=defect, stage_s=item.stage_s)
    took = {**item.stage_s, stage: time.monotonic() - started_s}
    return Item(job=item.job, value=value, stage_s=took)


def _log_stop(stage: str, job: StudyJob, error: NodeError) -> None:
    logger.warning(
        "stage.stopped",
        extra={"stage": stage, "study": pseudonym(job.study_uid), "code": error.code.value, "reason": error.sentence},
    )


def _where(exc: BaseException) -> str:
    """File and line of each frame: enough to mend a defect, and no value that could name a patient."""
    frames: list[str] = []
    trace = exc.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(frames[-6:]))


class StageOperator(Operator):  # type: ignore[misc] # holoscan ships no types
    """A stage as an operator with one input `in` and one output `out`.

    Subclasses name their stage; `run` is the stage itself (a callable from the message it takes to the one it gives).
    """

    stage = "stage"

    def __init__(self, fragment: Fragment, *args: Any, run: Callable[[Any], Any], **kwargs: Any) -> None:
        self.run = run
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("in")
        spec.output("out")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Take one item, give one item."""
        del context
        op_output.emit(attempt(self.stage, self.run, op_input.receive("in")), "out")


class _Condition:
    """An inbox's Waker on a Holoscan AsynchronousCondition."""

    def __init__(self, condition: AsynchronousCondition) -> None:
        self._condition = condition

    def ready(self) -> None:
        self._condition.event_state = AsynchronousEventState.EVENT_DONE

    def waiting(self) -> None:
        self._condition.event_state = AsynchronousEventState.EVENT_WAITING

    def never(self) -> None:
        self._condition.event_state = AsynchronousEventState.EVENT_NEVER


class SourceOperator(Operator):  # type: ignore[misc] # holoscan ships no types
    """The source of a long-lived graph: emits on `out` what its inbox holds, and ends when the inbox is closed."""

    def __init__(self, fragment: Fragment, *args: Any, inbox: Inbox[Any], **kwargs: Any) -> None:
        self.inbox = inbox
        self._condition = AsynchronousCondition(fragment, name=f"{kwargs.get('name', 'source')}_inbox")
        super().__init__(fragment, self._condition, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.output("out")

    def start(self) -> None:
        """Connect the inbox to the scheduler."""
        self.inbox.bind(_Condition(self._condition))

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Emit the oldest item."""
        del op_input, context
        self.inbox.take(lambda item: op_output.emit(item, "out"))
