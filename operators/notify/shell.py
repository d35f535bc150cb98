"""The Holoscan operator of the notify stage."""

from operators.domain.stage import StageOperator


class NotifyOperator(StageOperator):
    """DraftReport in, Dispatches to the RIS out."""

    stage = "notify"
