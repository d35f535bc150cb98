"""`models import`: a file or folder of published weights becomes an installed bundle."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.bundles import imported_root
from app.cli.common import add_config, add_json, settings_of
from app.importing import Installed, NotImported, import_bundle
from models.encoder.bundle import RETRIEVAL_KIND
from models.importing.families import FAMILIES
from models.importing.request import (
    DEFAULT_SIDE_PX,
    DEFAULT_VERSION,
    NOT_STATED,
    ImportRequest,
    RequestError,
    name_from,
    parse_depths,
)
from models.shared.checkpoints import RERANK_TOP_K
from operators.domain.errors import ConfigError

INTERRUPTED = 130
"""What a shell makes of a command that Ctrl-C ended."""


def add_to(verbs: Any) -> None:
    """Add the verb to its family."""
    verb = verbs.add_parser("import", help="convert published weights and install them as a bundle")
    verb.add_argument("source", metavar="PATH", help="safetensors file, folder of its parts, or torch file of weights")
    verb.add_argument("--name", help="name of the bundle (default: made of the file's)")
    verb.add_argument("--version", default=DEFAULT_VERSION, help=f"version of the bundle (default {DEFAULT_VERSION})")
    verb.add_argument("--modality", action="append", choices=tuple(FAMILIES), help="repeat for more (default: all)")
    verb.add_argument("--license", default=NOT_STATED, metavar="TEXT", help="the weights' licence, for the records")
    verb.add_argument("--origin", default=NOT_STATED, metavar="TEXT", help="where they came from, for the records")
    verb.add_argument("--side", type=int, default=DEFAULT_SIDE_PX, metavar="PX", help="image side (default 480)")
    verb.add_argument(
        "--depth", action="append", default=[], metavar="MODALITY=SLICES", help="default 3D-CT=240, 3D-Brain-MRI=30"
    )
    verb.add_argument("--top-k", type=int, default=RERANK_TOP_K, metavar="K", help="tokens reranked (default 128)")
    verb.add_argument("--into", metavar="FOLDER", help="install there instead of in the node's state folder")
    verb.set_defaults(run=_import)
    add_config(verb)
    add_json(verb)


def _import(chosen: argparse.Namespace) -> int:
    settings = settings_of(chosen)
    source = Path(chosen.source)
    root = Path(chosen.into) if chosen.into else imported_root(settings.node.state_dir)
    if not source.exists():
        return _refused(chosen, NotImported(exit_code=4, code="missing-file", sentence="There is no such file."))
    try:
        outcome = import_bundle(source, _request(chosen, source), settings, root)
    except KeyboardInterrupt:
        print("interval: The import was interrupted; nothing was installed.", file=sys.stderr)
        return INTERRUPTED
    if isinstance(outcome, NotImported):
        return _refused(chosen, outcome)
    _print_installed(chosen, outcome)
    return 0


def _request(chosen: argparse.Namespace, source: Path) -> ImportRequest:
    try:
        return ImportRequest(
            name=chosen.name or name_from(source.resolve().name),
            version=chosen.version,
            modalities=tuple(chosen.modality or FAMILIES),
            side_px=chosen.side,
            top_k=chosen.top_k,
            depths=parse_depths(chosen.depth),
            license=chosen.license,
            origin=chosen.origin,
            imported_on=datetime.now(UTC).date(),
        )
    except RequestError as exc:
        raise ConfigError(str(exc)) from exc


def _refused(chosen: argparse.Namespace, outcome: NotImported) -> int:
    print(f"interval: {outcome.sentence}", file=sys.stderr)
    if chosen.json:
        print(json.dumps({"ok": False, "code": outcome.code, "sentence": outcome.sentence}))
    return outcome.exit_code


def _print_installed(chosen: argparse.Namespace, installed: Installed) -> None:
    told = {key: value for key, value in installed.told.items() if key != "sentence"}
    if chosen.json:
        facts = {"ok": True, "bundle_id": installed.bundle_id, "folder": str(installed.folder)}
        print(json.dumps(facts | {"bundle_bytes": installed.bundle_bytes} | told))
        return
    keys = told.get("keys", {})
    print(f"{installed.bundle_id} is installed in {installed.folder}")
    print(f"  reads {', '.join(told.get('families', []))}")
    print(
        f"  entries: {keys.get('used', 'all others')} used, {keys.get('known_unused')} known to be unused, "
        f"{len(keys.get('unknown', []))} unknown"
    )
    for expert in told.get("experts", []):
        print(f"  expert {expert['expert']}: {expert['verdict']}")
    for doubt in told.get("doubts", []):
        print(f"  note: {doubt}")
    print(
        f"  {installed.bundle_bytes / 1e9:.2f} GB, made in {told.get('seconds', 0):.0f} s with at most "
        f"{told.get('peak_rss_bytes', 0) / 1e9:.2f} GB of memory"
    )
    if told.get("kind") == RETRIEVAL_KIND:
        print(f"  to use it: python -m app models select {installed.folder.name}")
