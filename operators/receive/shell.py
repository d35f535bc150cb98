"""The receive stage as an operator."""

from operators.domain.stage import SourceOperator


class ReceiveOperator(SourceOperator):
    """The source of the receive role: emits, as a tuple, what was stored since the last time; an empty one is a tick.

    Its inbox is fed by a Receiver, which closes it once no listener accepts or holds an association any more.
    """
