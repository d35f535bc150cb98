"""Similar cases that were kept with a draft, after patients were merged: those still of others leave, one per patient.

A draft keeps the cases that were found for it. Shown later, a case may turn out to be the same patient's, or two of
them one patient's. What was kept is not changed: when the merge is undone they are back.
"""

from collections.abc import Mapping, Sequence

from psycopg import sql

from operators.domain.database import Connection
from operators.domain.ids import InstanceUid
from operators.domain.messages import Patient, SimilarCase
from operators.domain.patient_keys import patient_of
from operators.retrieve.kin import with_kin
from operators.retrieve.patients import Withheld, withheld_for
from operators.retrieve.tables import table_name

Place = tuple[int, InstanceUid]

_ANY = "SELECT 1 FROM patient_merges LIMIT 1"
_TABLE = "SELECT to_regclass(%s) IS NOT NULL AS there"
_OWNERS = """
SELECT kept.entity_id, kept.instance_uid, kept.patient_key, kept.original_patient_key
FROM unnest(%(entities)s::integer[], %(instances)s::text[]) AS asked (entity_id, instance_uid)
JOIN {table} AS kept ON kept.entity_id = asked.entity_id AND kept.instance_uid = asked.instance_uid"""


def of_others_now(
    connection: Connection, bundle_id: str, patient: Patient, cases: Sequence[SimilarCase]
) -> tuple[SimilarCase, ...]:
    """Return the cases of a draft of `patient` that are still others', in their order and with their ranks.

    A case whose row has left the index stays as it was found.
    """
    if not cases or connection.execute(_ANY).fetchone() is None:
        return tuple(cases)
    return still_others(cases, _owners(connection, bundle_id, cases), with_kin(connection, withheld_for((patient,))))


def still_others(
    cases: Sequence[SimilarCase], owners: Mapping[Place, tuple[str, str]], withheld: Withheld
) -> tuple[SimilarCase, ...]:
    """Return the cases of nobody withheld, the first of each patient and entity; owners are (now, as objects said)."""
    shown: set[tuple[int, str]] = set()
    kept = []
    for case in cases:
        owner = owners.get((case.entity_index, case.instance_uid))
        if owner is None:
            kept.append(case)
            continue
        if any(_is_withheld(key, withheld) for key in owner) or (case.entity_index, owner[0]) in shown:
            continue
        shown.add((case.entity_index, owner[0]))
        kept.append(case)
    return tuple(kept)


def _owners(connection: Connection, bundle_id: str, cases: Sequence[SimilarCase]) -> dict[Place, tuple[str, str]]:
    name = table_name(bundle_id)
    there = connection.execute(_TABLE, (name,)).fetchone()
    if there is None or not there["there"]:
        return {}
    values = {
        "entities": [case.entity_index for case in cases],
        "instances": [case.instance_uid for case in cases],
    }
    rows = connection.execute(sql.SQL(_OWNERS).format(table=sql.Identifier(name)), values).fetchall()
    return {(row["entity_id"], row["instance_uid"]): (row["patient_key"], row["original_patient_key"]) for row in rows}


def _is_withheld(key: str, withheld: Withheld) -> bool:
    return key in withheld.keys or patient_of(key).patient_id in withheld.ids_of_any_issuer
