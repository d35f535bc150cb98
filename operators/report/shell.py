"""The report stage as an operator of the graph."""

from operators.domain.stage import StageOperator


class ReportOperator(StageOperator):
    """ComparedCase in, DraftReport out."""

    stage = "report"
