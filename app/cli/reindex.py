"""`models reindex`: ask that the images in the spool be read by the selected bundle; see how far that is."""

import argparse
import json
from typing import Any

from pydantic import TypeAdapter

from app.cli.common import add_config, add_json, open_database, settings_of
from app.engines import selected_bundle
from app.reindexing import Progress, progress, request


def add_to(verbs: Any) -> None:
    """Add the verb to the family `models`."""
    verb = verbs.add_parser(
        "reindex", help="have the images still in the spool read by the selected bundle, for similar cases"
    )
    verb.add_argument("--status", action="store_true", help="only tell how far it is")
    verb.set_defaults(run=_reindex)
    add_config(verb)
    add_json(verb)


def _reindex(chosen: argparse.Namespace) -> int:
    bundle_id = selected_bundle(settings_of(chosen)).info.bundle_id
    with open_database(chosen) as pool:
        if not chosen.status:
            request(pool, bundle_id)
        found = progress(pool, bundle_id)
    if chosen.json:
        print(json.dumps(TypeAdapter(Progress).dump_python(found, mode="json") | {"left": found.left}))
        return 0
    print(f"{found.bundle_id}: {_said(found)}")
    print(f"  {found.indexed} of {found.studies} studies indexed, {found.unreadable} unreadable, {found.left} left")
    return 0


def _said(found: Progress) -> str:
    if found.requested_at is None:
        return "not asked for"
    if found.finished_at is not None:
        return f"finished at {found.finished_at:%Y-%m-%d %H:%M} UTC"
    return "under way: a worker with this bundle reads one study whenever none waits"
