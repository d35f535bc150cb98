"""`models list | show | verify`: the installed bundles."""

import argparse
import json
import sys
from typing import Any

from pydantic import TypeAdapter

from app.bundles import bundle_folder, installed_bundles
from app.cli.common import add_config, add_json, settings_of
from models.encoder.bundle import open_bundle
from models.encoder.engine import BundleInfo, PresenceFigures
from models.shared.bundle_files import BundleError


def add_to(commands: Any) -> None:
    """Add the family to the command line."""
    family = commands.add_parser("models", help="list, show or verify model bundles")
    verbs = family.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="installed bundles; * marks the one in use")
    listing.set_defaults(run=_list)
    show = verbs.add_parser("show", help="what a bundle reads, and how well")
    show.set_defaults(run=_show)
    verify = verbs.add_parser("verify", help="check every file of a bundle against its sums")
    verify.set_defaults(run=_verify)
    for verb in (show, verify):
        verb.add_argument("bundle", nargs="?", help="name of the bundle (default: the one in use)")
    for verb in (listing, show, verify):
        add_config(verb)
        add_json(verb)


def _list(chosen: argparse.Namespace) -> int:
    used = settings_of(chosen).encode.bundle
    names = installed_bundles()
    if chosen.json:
        print(json.dumps([{"name": name, "selected": name == used} for name in names]))
        return 0
    for name in names:
        print(f"{'*' if name == used else ' '} {name}")
    return 0


def _show(chosen: argparse.Namespace) -> int:
    info = _info(chosen)
    if info is None:
        return 1
    if chosen.json:
        print(TypeAdapter(BundleInfo).dump_json(info).decode())
        return 0
    print(f"{info.name} {info.version} ({info.bundle_id})")
    for family in info.families:
        print(f"  reads {family.modality}: {', '.join(family.dicom_modalities)}")
        for entity in family.entities:
            print(f"  {entity.index:>4}  {_told(entity.measured)}  {entity.name}")
    return 0


def _told(measured: PresenceFigures | None) -> str:
    if measured is None:
        return "not measured: neither present nor absent is stated"
    interval = f"{measured.auroc_lo:.2f}-{measured.auroc_hi:.2f}"
    return f"AUROC {measured.auroc:.2f} ({interval})  {measured.n_positive}/{measured.n_images}"


def _verify(chosen: argparse.Namespace) -> int:
    info = _info(chosen)
    if info is None:
        return 1
    print(
        json.dumps({"bundle_id": info.bundle_id, "ok": True})
        if chosen.json
        else f"{info.bundle_id}: every file is as it was shipped"
    )
    return 0


def _info(chosen: argparse.Namespace) -> BundleInfo | None:
    name = chosen.bundle or settings_of(chosen).encode.bundle
    try:
        return open_bundle(bundle_folder(name)).info
    except BundleError as error:
        print(f"interval: {error}", file=sys.stderr)
        return None
