"""The compare stage as an operator of the graph."""

from operators.domain.stage import StageOperator


class CompareOperator(StageOperator):
    """RetrievedCase in, ComparedCase out."""

    stage = "compare"
