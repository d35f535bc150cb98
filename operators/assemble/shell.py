"""The assemble stage as an operator."""

import logging
from collections.abc import Callable
from typing import Any

from operators.domain import cuda_runtime
from operators.domain.messages import StoredInstance, StudyJob

cuda_runtime.preload()

from monai.deploy.core import Fragment, Operator, OperatorSpec  # noqa: E402 - needs the preloaded library

logger = logging.getLogger(__name__)


class AssembleOperator(Operator):  # type: ignore[misc] # holoscan ships no types
    """The sink of the receive role: each item is a reason to look for studies to close."""

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        run: Callable[[tuple[StoredInstance, ...]], tuple[StudyJob, ...]],
        **kwargs: Any,
    ) -> None:
        self.run = run
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.input("in")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Take one item. An error must not leave: it would end the graph."""
        del op_output, context
        stored = op_input.receive("in")
        try:
            self.run(stored)
        except Exception as exc:  # noqa: BLE001 - the one boundary: a defect here must not stop the receiving
            logger.error("assemble.defect", extra={"kind": type(exc).__name__})  # noqa: TRY400 - no values in logs
