"""The encode stage as an operator of the graph."""

from operators.domain.stage import StageOperator


class EncodeOperator(StageOperator):
    """CaseWithPriors in, EncodedCase out."""

    stage = "encode"
