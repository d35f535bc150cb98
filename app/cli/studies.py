"""`studies list | show | close | retry | discard`: the admin's view of studies, and hand on open and parked ones."""

import argparse
import json
import sys
from typing import Any

from pydantic import TypeAdapter

from app.cli.common import add_config, add_json, how_many, open_database, settings_of
from app.jobs import enqueue
from app.overview import STATES, Overview, StudyDetail, StudyRow
from app.revisions import Refused, Revisions
from operators.assemble.assembler import Assembler
from operators.domain.clock import SystemClock
from operators.domain.ids import StudyUid


def add_to(commands: Any) -> None:
    """Add the family to the command line."""
    family = commands.add_parser("studies", help="list, show, close, retry or discard studies")
    verbs = family.add_subparsers(required=True, metavar="VERB")

    listing = verbs.add_parser("list", help="studies, latest received first")
    listing.add_argument("--state", choices=STATES)
    listing.add_argument("--limit", type=how_many, default=50)
    listing.set_defaults(run=_list)
    show = verbs.add_parser("show", help="everything about one study")
    show.set_defaults(run=_show)
    close = verbs.add_parser("close", help="take an open study as complete now, without waiting for quiet")
    close.set_defaults(run=_close)
    retry = verbs.add_parser("retry", help="take a parked study, or its parked deliveries, up again")
    retry.set_defaults(run=lambda chosen: _change(chosen, "retry"))
    discard = verbs.add_parser("discard", help="give a parked study up")
    discard.set_defaults(run=lambda chosen: _change(chosen, "discard"))
    for verb in (show, close, retry, discard):
        verb.add_argument("uid", metavar="UID", help="Study Instance UID")
    for verb in (listing, show, close, retry, discard):
        add_config(verb)
        add_json(verb)


def _list(chosen: argparse.Namespace) -> int:
    with open_database(chosen) as pool:
        rows = Overview(pool).studies(state=chosen.state, limit=chosen.limit)
    if chosen.json:
        print(TypeAdapter(tuple[StudyRow, ...]).dump_json(rows).decode())
        return 0
    for row in rows:
        waits = f"  {row.waits_for}" if row.waits_for else ""
        print(f"{row.study_uid}  r{row.revision}  {row.state:<10}  {row.images:>4} images{waits}")
    return 0


def _show(chosen: argparse.Namespace) -> int:
    with open_database(chosen) as pool:
        detail = Overview(pool).study(chosen.uid)
    if detail is None:
        return _refuse("No such study.")
    if chosen.json:
        print(TypeAdapter(StudyDetail).dump_json(detail).decode())
        return 0
    row = detail.study
    print(f"{row.study_uid}\n  revision {row.revision}, {row.images} images, {row.state}")
    if row.waits_for:
        print(f"  {row.waits_for} {row.action or ''}")
    if detail.priors_sentence:
        print(f"  priors: {detail.priors_sentence}")
    for finding in detail.comparison.findings if detail.comparison else ():
        prob = "-   " if finding.current_prob is None else f"{finding.current_prob:.2f}"
        print(f"  {finding.state.value:<13} {prob}  {finding.entity.name}")
    for delivery in detail.deliveries:
        where = f"r{delivery.revision} {delivery.kind} to {delivery.destination}"
        print(f"  {where}: {delivery.state} {delivery.reason or ''}")
    return 0


def _close(chosen: argparse.Namespace) -> int:
    with open_database(chosen) as pool:
        settings = settings_of(chosen)
        assembler = Assembler(pool, enqueue=enqueue, clock=SystemClock(), config=settings.assemble)
        job = assembler.force_close(StudyUid(chosen.uid))
        detail = None if job else Overview(pool).study(chosen.uid)
    if job is None:
        sentence = f"Nothing of the study is open; its state is {detail.study.state}." if detail else None
        return _refuse(sentence or "No such study.")
    if chosen.json:
        print(json.dumps({"study_uid": chosen.uid, "revision": int(job.revision), "done": "close"}))
    return 0


def _change(chosen: argparse.Namespace, wish: str) -> int:
    with open_database(chosen) as pool:
        revisions = Revisions(pool)
        refused: Refused | None = revisions.retry(chosen.uid) if wish == "retry" else revisions.discard(chosen.uid)
    if refused is not None:
        return _refuse(refused.sentence)
    if chosen.json:
        print(json.dumps({"study_uid": chosen.uid, "done": wish}))
    return 0


def _refuse(sentence: str) -> int:
    print(f"interval: {sentence}", file=sys.stderr)
    return 4
