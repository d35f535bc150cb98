"""`patients merge | unmerge | show`: one patient under two identifiers, joined and parted by hand."""

import argparse
import json
import os
import pwd
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from app.cli.common import add_config, add_json, open_database, settings_of
from app.patients import Identifier, KnownPatient, known_patient
from operators.domain.clock import SystemClock
from operators.domain.database import transaction
from operators.domain.errors import PermanentError
from operators.domain.messages import Patient
from operators.domain.reasons import ReasonCode
from operators.patients.adt import MergeOrder, writings, written_out
from operators.patients.chains import MergeProblem, MergeRefusedError
from operators.patients.merges import Done, Origin, merge, unmerge


def add_to(commands: Any) -> None:
    """Add the family to the command line."""
    family = commands.add_parser("patients", help="merge two identifiers of a patient, undo it, or show what is known")
    verbs = family.add_subparsers(required=True, metavar="VERB")

    merging = verbs.add_parser("merge", help="let identifier OLD go into NEW, as a message of the RIS (ADT^A40) does")
    merging.add_argument("old", metavar="OLD", help="patient ID that is no longer used")
    merging.add_argument("new", metavar="NEW", help="patient ID that takes its place")
    merging.add_argument("--issuer-old", default="", metavar="ISSUER", help="issuer of OLD; none: objects name none")
    merging.add_argument("--issuer-new", default="", metavar="ISSUER", help="issuer of NEW; none: objects name none")
    merging.set_defaults(run=_merge)
    undoing = verbs.add_parser("unmerge", help="undo the merge of identifier OLD, and no other")
    undoing.add_argument("old", metavar="OLD", help="patient ID that was merged into another")
    undoing.set_defaults(run=_unmerge)
    show = verbs.add_parser("show", help="the identifiers of a patient, and who merged or unmerged them when")
    show.add_argument("id", metavar="ID", help="patient ID")
    show.set_defaults(run=_show)
    for verb in (undoing, show):
        verb.add_argument("--issuer", default="", metavar="ISSUER", help="issuer of the ID; none: objects name none")
    for verb in (merging, undoing, show):
        add_config(verb)
        add_json(verb)


def _merge(chosen: argparse.Namespace) -> int:
    order = MergeOrder(former=_patient(chosen.old, chosen.issuer_old), survivor=_patient(chosen.new, chosen.issuer_new))
    if order.former == order.survivor:
        raise MergeRefusedError(MergeProblem.SAME)
    origin = _origin()
    with open_database(chosen) as pool, transaction(pool) as connection:
        orders = written_out(order, settings_of(chosen).patients)
        done = [merge(connection, each.former, each.survivor, origin) for each in orders]
    return _report(chosen, "merge" if any(each.is_new for each in done) else "already", order.former, done)


def _unmerge(chosen: argparse.Namespace) -> int:
    former = _patient(chosen.old, chosen.issuer)
    origin = _origin()
    done: list[Done] = []
    with open_database(chosen) as pool, transaction(pool) as connection:
        for each in writings(former, settings_of(chosen).patients):
            try:
                done.append(unmerge(connection, each, origin))
            except MergeRefusedError as refused:
                if refused.problem is not MergeProblem.NOT_MERGED:
                    raise
        if not done:
            raise MergeRefusedError(MergeProblem.NOT_MERGED)
    return _report(chosen, "unmerge", former, done)


def _show(chosen: argparse.Namespace) -> int:
    with open_database(chosen) as pool:
        found = known_patient(pool, _patient(chosen.id, chosen.issuer))
    if not found.is_known:
        raise PermanentError(ReasonCode.PATIENT_UNKNOWN)
    if chosen.json:
        print(TypeAdapter(KnownPatient).dump_json(found).decode())
        return 0
    print(f"{_said(found.asked)}: now {_said(found.current)}, {found.studies} studies, {found.images} images indexed")
    for former, into in found.merged:
        print(f"  {_said(former)} went into {_said(into)}")
    for event in found.events:
        by = f"{event.source} {event.who} {event.message}".rstrip()
        print(f"  {event.at:%Y-%m-%d %H:%M:%S} UTC  {event.deed} {_said(event.former)} -> {_said(event.into)}  by {by}")
    return 0


def _report(chosen: argparse.Namespace, deed: str, former: Patient, done: list[Done]) -> int:
    current = Identifier(patient_id=done[0].current.patient_id, issuer=done[0].current.issuer)
    asked = Identifier(patient_id=former.patient_id, issuer=former.issuer)
    moved = sum(each.moved for each in done)
    if chosen.json:
        print(json.dumps({"done": deed, "former": asdict(asked), "current": asdict(current), "rows_moved": moved}))
        return 0
    what = {"merge": "merged", "already": "was merged before", "unmerge": "unmerged"}[deed]
    print(f"{_said(asked)}: {what}; it is {_said(current)} now, {moved} rows of the index moved")
    return 0


def _patient(patient_id: str, issuer: str) -> Patient:
    """Return the patient that was named. Raises PermanentError for an empty ID."""
    if not patient_id.strip():
        raise PermanentError(ReasonCode.PATIENT_UNKNOWN)
    return Patient(patient_id=patient_id.strip(), issuer=issuer.strip())


def _origin() -> Origin:
    return Origin(source="command", who=_account(), at=SystemClock().now())


def _account() -> str:
    """Return the name of the account that runs the command, or its number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _said(identifier: Identifier) -> str:
    return f"{identifier.patient_id} ({identifier.issuer})" if identifier.issuer else identifier.patient_id
