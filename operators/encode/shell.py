"""The encode stage as an operator of the graph."""

from operators.domain.stage import ParallelStageOperator


class EncodeOperator(ParallelStageOperator):
    """CaseWithPriors in, EncodedCase out; studies that wait at the same moment are encoded together."""

    stage = "encode"
