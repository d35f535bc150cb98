"""Time from a study's close to its SR in the PACS, the model's own time apart: what queue, graph, rows and outbox cost.

Compared with the stages alone, timed in the same run: what a script would take that searches, fetches, compares and
renders one study after the other, and keeps no promise when it is killed.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from pydicom.dataset import FileDataset

from app.postgres import current_url
from tests.bench.result import Metric
from tests.support.house import ENDED, House
from tests.support.objects import as_bytes, dx_from_image, save
from tests.support.peers.dcmtk import dcmsend
from tests.support.peers.process import wait_until

FILMS = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "films"
_PATIENTS = 8
_WARM_UP = 2

_TIMES = """
SELECT extract(epoch FROM o.sent_at - r.closed_at)::float8 AS total_s, r.stage_seconds
FROM revisions r JOIN outbox o USING (study_uid, revision)
WHERE o.kind = 'sr' AND o.sent_at IS NOT NULL ORDER BY r.closed_at"""


def overhead() -> Metric:
    """Return the median overhead in seconds, and the median of the stages alone as its baseline."""
    with tempfile.TemporaryDirectory(prefix="interval-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with House(folder) as house:
            for number in range(_PATIENTS + _WARM_UP):
                _one_study(house, folder, number)
                print(f"overhead: study {number + 1} of {_PATIENTS + _WARM_UP}", file=sys.stderr)
            url = current_url(house.node.state_dir / "postgres")
            rows = _times(url or "")[_WARM_UP:]
    ours = [total_s - _model_s(stages) for total_s, stages in rows]
    alone = [sum(stages.values()) - _model_s(stages) for _, stages in rows]
    value, baseline = statistics.median(ours), statistics.median(alone)
    return Metric(
        name="overhead_s",
        value=value,
        unit="s",
        baseline="the stages alone, without queue, rows and outbox",
        baseline_value=baseline,
        ratio=value / baseline,
    )


def _one_study(house: House, folder: Path, number: int) -> None:
    """Send one follow-up whose prior lies in the PACS, and wait until it is done, so that nothing queues."""
    prior, current = _film("bb4c4038.jpg", number, "20260101"), _film("3161e216.jpg", number, "20260122")
    house.pacs.archive.upload(as_bytes(prior))
    sent = dcmsend([save(current, folder / f"{number}.dcm")], house.node.peer)
    if not sent.all_stored:
        raise RuntimeError("the node did not take the study")
    uid = str(current.StudyInstanceUID)
    if not wait_until(lambda: house.node.states().get(uid) in ENDED, 120.0):
        raise RuntimeError("the study did not end")


def _film(name: str, number: int, study_date: str) -> FileDataset:
    return dx_from_image(
        FILMS / name,
        seed=f"bench/{number}/{study_date}",
        PatientID=f"BENCH-{number}",
        StudyDate=study_date,
        BodyPartExamined="CHEST",
        ViewPosition="AP",
    )


def _times(url: str) -> list[tuple[float, dict[str, float]]]:
    with psycopg.connect(url) as connection:
        return [(float(row[0]), row[1]) for row in connection.execute(_TIMES).fetchall()]


def _model_s(stages: dict[str, Any]) -> float:
    return float(stages["encode"])
