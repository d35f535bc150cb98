"""The chores of the work role: one that fails is put off, the others are done, and the thread lives on."""

import os
import time
from pathlib import Path

import pytest

from app import housekeeping
from app.housekeeping import Chores, Housekeeping
from operators.domain.clock import SystemClock
from operators.domain.database import Pool, transaction
from operators.priors.files import PriorFiles
from tests.support.peers.process import wait_until

pytestmark = pytest.mark.peer


def old_prior(spool_dir: Path) -> Path:
    """Return the file of a prior that nobody used for two days."""
    path = spool_dir / "priors" / "1.2.1" / "1.2.1.1.1.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"DICM")
    two_days_ago_s = time.time() - 2 * 86_400
    os.utime(path, (two_days_ago_s, two_days_ago_s))
    return path


def test_a_chore_that_the_database_refuses_is_put_off_again_and_again(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(housekeeping, "_EVERY_S", 0.01)
    with transaction(pool) as connection:
        connection.execute("ALTER TABLE bundles RENAME TO elsewhere")
    chores = Chores(
        pool=pool,
        clock=SystemClock(),
        bundle_id="none",
        hnsw_from_rows=1,
        priors=PriorFiles(tmp_path),
        keep_priors_days=1.0,
    )
    keeper = Housekeeping(chores)
    path = old_prior(tmp_path)
    keeper.start()
    try:
        assert wait_until(lambda: not path.exists(), 10.0)
        old_prior(tmp_path)
        assert wait_until(lambda: not path.exists(), 10.0)
    finally:
        keeper.stop()
    put_off = [vars(record)["kind"] for record in caplog.records if record.msg == "housekeeping.put_off"]
    assert set(put_off) == {"UndefinedTable"}
    assert len(put_off) > 1
