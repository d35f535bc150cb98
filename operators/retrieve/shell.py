"""The Holoscan operator of the retrieve stage."""

from operators.domain.stage import StageOperator


class RetrieveOperator(StageOperator):
    """EncodedCase in, RetrievedCase out."""

    stage = "retrieve"
