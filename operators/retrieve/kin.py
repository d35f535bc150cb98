"""Merged patients as searches need them: what to withhold enters, and leaves with everybody merged with it.

The table patient_merges is the meeting place: whoever merges writes it, searches read it.
"""

from operators.domain.database import Connection
from operators.domain.patient_keys import patient_of
from operators.retrieve.patients import Withheld, together

# A study that names no issuer may be any issuer's: its id finds merges under all of them.
_KIN = """
WITH touched AS (
    SELECT current_key FROM patient_merges
    WHERE former_key = ANY(%(keys)s) OR into_key = ANY(%(keys)s) OR current_key = ANY(%(keys)s)
       OR split_part(former_key, chr(31), 2) = ANY(%(ids)s) OR split_part(into_key, chr(31), 2) = ANY(%(ids)s)
)
SELECT former_key, current_key FROM patient_merges WHERE current_key IN (SELECT current_key FROM touched)"""


def with_kin(connection: Connection, withheld: Withheld) -> Withheld:
    """Return what to withhold, with every identifier that was merged with one of them."""
    values = {"keys": list(withheld.keys), "ids": list(withheld.ids_of_any_issuer)}
    rows = connection.execute(_KIN, values).fetchall()
    kin = {key for row in rows for key in (row["former_key"], row["current_key"])}
    return together(withheld, map(patient_of, kin)) if kin else withheld
