"""The deliver stage as an operator of the graph."""

from operators.domain.stage import StageOperator


class DeliverOperator(StageOperator):
    """DraftReport in, Dispatches out."""

    stage = "deliver"
