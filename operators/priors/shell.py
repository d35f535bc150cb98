"""The priors stage as an operator of the graph: Study in, CaseWithPriors out."""

from operators.domain.stage import StageOperator


class PriorsOperator(StageOperator):
    """Runs the priors stage on each study."""

    stage = "priors"
