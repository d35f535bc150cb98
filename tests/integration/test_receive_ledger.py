"""Refused associations in the ledger: by name, up to a number of names."""

from datetime import UTC, datetime

import pytest

from operators.domain.database import Pool, transaction
from operators.receive.ledger import OTHER_NAME, REFUSALS_KEPT, Ledger

pytestmark = pytest.mark.peer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def counted(pool: Pool) -> dict[tuple[str, str], int]:
    with transaction(pool) as connection:
        rows = connection.execute("SELECT calling_ae, called_ae, times FROM refusals").fetchall()
    return {(row["calling_ae"], row["called_ae"]): row["times"] for row in rows}


def test_names_that_a_peer_invents_fill_the_table_up_to_a_limit(pool: Pool) -> None:
    ledger = Ledger(pool)
    ledger.count_refusal("KNOWN", "INTERVAL", "calling-ae-unknown", NOW)
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO refusals SELECT 'AE' || n, 'X', 'calling-ae-unknown', 1, now() FROM generate_series(2, %s) n",
            (REFUSALS_KEPT - 1,),
        )
    for name in ("LAST", "KNOWN", "NEW1", "NEW2", "LAST"):
        ledger.count_refusal(name, "INTERVAL", "calling-ae-unknown", NOW)
    found = counted(pool)
    assert len(found) == REFUSALS_KEPT + 1
    assert found["KNOWN", "INTERVAL"] == 2
    assert found["LAST", "INTERVAL"] == 2
    assert found[OTHER_NAME, OTHER_NAME] == 2
