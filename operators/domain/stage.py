"""The Holoscan operators that every stage's shell is: receive an item, run the stage on it, emit what came of it.

An exception must never leave compute(): it would end the graph and all its work. `items.attempt` is the boundary.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from operators.domain import cuda_runtime
from operators.domain.inbox import Inbox
from operators.domain.items import attempt

cuda_runtime.preload()

from holoscan.conditions import AsynchronousCondition, AsynchronousEventState  # noqa: E402 - needs the preloaded library
from holoscan.core import ConditionType, IOSpec  # noqa: E402 - needs the preloaded library
from monai.deploy.core import Fragment, Operator, OperatorSpec  # noqa: E402 - needs the preloaded library

_QUEUE = IOSpec.ConnectorType.DOUBLE_BUFFER


class StageOperator(Operator):  # type: ignore[misc] # holoscan ships no types
    """A stage as an operator with one input `in` and one output `out`.

    Subclasses name their stage; `run` is the stage itself (a callable from the message it takes to the one it gives).
    `waiting` items may wait at its input, where the stage before may give several at once.
    """

    stage = "stage"

    def __init__(
        self, fragment: Fragment, *args: Any, run: Callable[[Any], Any], waiting: int = 1, **kwargs: Any
    ) -> None:
        self.run = run
        self.waiting = waiting
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("in").connector(_QUEUE, capacity=self.waiting)
        spec.output("out")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Take one item, give one item."""
        del context
        op_output.emit(attempt(self.stage, self.run, op_input.receive("in")), "out")


class ParallelStageOperator(StageOperator):
    """A stage that runs on all items that wait at its input side by side, `waiting` at most; their order is kept.

    So studies that came while it ran meet within the stage; an item that comes alone begins at once. The input of the
    stage behind has to hold as many.
    """

    def __init__(self, fragment: Fragment, *args: Any, waiting: int, **kwargs: Any) -> None:
        self._threads = ThreadPoolExecutor(waiting, self.stage)
        super().__init__(fragment, *args, waiting=waiting, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports: nothing is taken before everything that may come of it can be given."""
        spec.input("in").connector(_QUEUE, capacity=self.waiting)
        output = spec.output("out").connector(_QUEUE, capacity=self.waiting)
        output.condition(ConditionType.DOWNSTREAM_MESSAGE_AFFORDABLE, min_size=self.waiting)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Take what waits, give what came of it."""
        del context
        items = [op_input.receive("in")]
        while len(items) < self.waiting and (item := op_input.receive("in")) is not None:
            items.append(item)
        for outcome in self._threads.map(lambda item: attempt(self.stage, self.run, item), items):
            op_output.emit(outcome, "out")

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown()


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
