"""What travels on the edges of the work role's graph: an item of one job, or word that the job was stopped and why.

`attempt` is the single top boundary of every stage: whatever a stage raises becomes a Stopped item that travels on to
the end of the graph, where the study is retried or parked.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from operators.domain.errors import NodeError, PermanentError
from operators.domain.ids import pseudonym
from operators.domain.messages import StudyJob
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One job's value on an edge, and the seconds that each stage has taken so far."""

    job: StudyJob
    value: Any
    stage_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A job that a stage could not finish: where, and why."""

    job: StudyJob
    stage: str
    error: NodeError
    stage_s: dict[str, float] = field(default_factory=dict)


def attempt(stage: str, run: Callable[[Any], Any], item: Item | Stopped) -> Item | Stopped:
    """Run a stage on an item; a Stopped item passes through, an error becomes one."""
    if isinstance(item, Stopped):
        return item
    started_s = time.monotonic()
    try:
        value = run(item.value)
    except NodeError as error:
        _log_stop(stage, item.job, error)
        return Stopped(job=item.job, stage=stage, error=error, stage_s=item.stage_s)
    except Exception as exc:  # noqa: BLE001 - the one boundary: a defect parks its study, the node lives on
        kind = type(exc).__name__
        logger.error(  # noqa: TRY400 - a traceback can print values, and values can name a patient
            "stage.defect", extra={"stage": stage, "kind": kind, "at": _where(exc)}
        )
        defect = PermanentError(ReasonCode.INTERNAL_ERROR, stage=stage, kind=kind)
        return Stopped(job=item.job, stage=stage, error=defect, stage_s=item.stage_s)
    took = {**item.stage_s, stage: time.monotonic() - started_s}
    return Item(job=item.job, value=value, stage_s=took)


def _log_stop(stage: str, job: StudyJob, error: NodeError) -> None:
    logger.warning(
        "stage.stopped",
        extra={"stage": stage, "study": pseudonym(job.study_uid), "code": error.code.value, "reason": error.sentence},
    )


def _where(exc: BaseException) -> str:
    """File and line of each frame: enough to mend a defect, and no value that could name a patient."""
    frames: list[str] = []
    trace = exc.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(frames[-6:]))
