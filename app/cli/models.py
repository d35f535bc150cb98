"""`models import | list | show | select | verify`: bring in bundles, look at them, choose the one in use."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from app.bundles import bundle_folder, installed_bundles, write_selection
from app.cli import importing, reindex
from app.cli.common import add_config, add_json, settings_of
from app.settings import sets_bundle
from models.encoder.bundle import RETRIEVAL_KIND, Bundle, open_bundle
from models.encoder.engine import BundleInfo, PresenceFigures
from models.encoder.model import FamilyEncoder
from models.shared.bundle_files import BundleError, read_metadata
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.vlm.bundle import open_vlm_bundle
from operators.domain.errors import ConfigError


def add_to(commands: Any) -> None:
    """Add the family to the command line."""
    family = commands.add_parser("models", help="import, list, show, select or verify model bundles")
    verbs = family.add_subparsers(required=True, metavar="VERB")
    importing.add_to(verbs)
    reindex.add_to(verbs)
    listing = verbs.add_parser("list", help="installed bundles; * marks the one in use")
    listing.set_defaults(run=_list)
    show = verbs.add_parser("show", help="what a bundle reads, and how well")
    show.set_defaults(run=_show)
    select = verbs.add_parser("select", help="choose the bundle that the node reads images with from its next start on")
    select.set_defaults(run=_select)
    select.add_argument("bundle", help="name of an installed bundle")
    verify = verbs.add_parser("verify", help="check every file of a bundle against its sums, and open its graphs")
    verify.set_defaults(run=_verify)
    for verb in (show, verify):
        verb.add_argument("bundle", nargs="?", help="name of the bundle (default: the one in use)")
    for verb in (listing, show, select, verify):
        add_config(verb)
        add_json(verb)


def _list(chosen: argparse.Namespace) -> int:
    settings = settings_of(chosen)
    used = settings.encode.bundle
    told = {name: _told(folder) for name, folder in installed_bundles(settings.node.state_dir).items()}
    if chosen.json:
        print(json.dumps([{"name": name, "selected": name == used} | facts for name, facts in told.items()]))
        return 0
    for name, facts in told.items():
        reads = ", ".join(facts["families"])
        print(f"{'*' if name == used else ' '} {name}  {facts['version']}  {facts['kind']}  {reads}".rstrip())
    return 0


def _told(folder: Path) -> dict[str, Any]:
    """Tell what a bundle's metadata say of it, unverified."""
    try:
        metadata = read_metadata(folder)
        section = metadata["interval"]
        families = [str(family["modality"]) for family in section.get("families", [section])]
        return {
            "version": str(metadata["version"]),
            "kind": str(section.get("kind", RETRIEVAL_KIND)),
            "families": families,
        }
    except (BundleError, KeyError, TypeError, AttributeError):
        return {"version": "", "kind": "unreadable", "families": []}


def _show(chosen: argparse.Namespace) -> int:
    name, folder = _named(chosen)
    if _told(folder)["kind"] not in (RETRIEVAL_KIND, "unreadable"):
        return _show_other(name, folder, as_json=chosen.json)
    bundle = _open(folder)
    if bundle is None:
        return 1
    if chosen.json:
        info = TypeAdapter(BundleInfo).dump_python(bundle.info, mode="json")
        print(json.dumps(info | {"origin": dict(bundle.origin)}))
        return 0
    _print_info(bundle)
    return 0


def _print_info(bundle: Bundle) -> None:
    info = bundle.info
    print(f"{info.name} {info.version} ({info.bundle_id})")
    for key, value in bundle.origin.items():
        print(f"  {key.replace('_', ' ')}: {value}")
    for family in info.families:
        print(f"  reads {family.modality}: {', '.join(family.dicom_modalities)}")
        for entity in family.entities:
            print(f"  {entity.index:>4}  {_measured(entity.measured)}  {entity.name}")


def _show_other(name: str, folder: Path, *, as_json: bool) -> int:
    """Show a bundle that is not for retrieval, such as a vision language model: what its metadata say."""
    told = {"name": name} | _told(folder)
    if as_json:
        print(json.dumps(told))
    else:
        print(f"{name} {told['version']} ({told['kind']})\n  reads {', '.join(told['families'])}")
    return 0


def _measured(measured: PresenceFigures | None) -> str:
    if measured is None:
        return "not measured: neither present nor absent is stated"
    interval = f"{measured.auroc_lo:.2f}-{measured.auroc_hi:.2f}"
    return f"AUROC {measured.auroc:.2f} ({interval})  {measured.n_positive}/{measured.n_images}"


def _select(chosen: argparse.Namespace) -> int:
    settings = settings_of(chosen)
    if sets_bundle(Path(chosen.config) if chosen.config else None):
        raise ConfigError(
            f"encode.bundle is set to {settings.encode.bundle} in the settings file or the environment, "
            "which outranks a selection: change it there, or remove it there first."
        )
    folder = bundle_folder(chosen.bundle, settings.node.state_dir)
    if (kind := _told(folder)["kind"]) not in (RETRIEVAL_KIND, "unreadable"):
        raise ConfigError(f"{chosen.bundle} is a bundle of kind {kind}: images are read with one of kind retrieval.")
    try:
        bundle_id = _verified(open_bundle(folder))
    except BundleError as error:
        print(f"interval: {error}", file=sys.stderr)
        return 1
    write_selection(settings.node.state_dir, chosen.bundle)
    if chosen.json:
        print(json.dumps({"selected": chosen.bundle, "bundle_id": bundle_id}))
    else:
        print(f"{bundle_id} is in use from the node's next start on")
    return 0


def _verify(chosen: argparse.Namespace) -> int:
    _, folder = _named(chosen)
    try:
        if _told(folder)["kind"] in (RETRIEVAL_KIND, "unreadable"):
            bundle_id, found = _verified(open_bundle(folder)), "every graph can be opened"
        else:
            bundle_id, found = open_vlm_bundle(folder).info.bundle_id, "its description can be read"
    except BundleError as error:
        print(f"interval: {error}", file=sys.stderr)
        return 1
    print(
        json.dumps({"bundle_id": bundle_id, "ok": True})
        if chosen.json
        else f"{bundle_id}: every file is as it was made, and {found}"
    )
    return 0


def _verified(bundle: Bundle) -> str:
    """Open the graphs of one family after the other. Raises BundleError."""
    runtime = OnnxRuntime()
    for family in bundle.families:
        FamilyEncoder(family, runtime)
    return bundle.info.bundle_id


def _named(chosen: argparse.Namespace) -> tuple[str, Path]:
    settings = settings_of(chosen)
    name = chosen.bundle or settings.encode.bundle
    return name, bundle_folder(name, settings.node.state_dir)


def _open(folder: Path) -> Bundle | None:
    try:
        return open_bundle(folder)
    except BundleError as error:
        print(f"interval: {error}", file=sys.stderr)
        return None
