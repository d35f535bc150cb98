"""`selftest`: compare the engines of this machine on the selected bundle."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from app.cli.common import add_config, settings_of
from app.engines import Compared, compare_engines, compare_with_checkpoint, open_engine, remember, selected_bundle
from app.settings import Settings
from models.encoder.bundle import Bundle
from models.encoder.engine import EngineError
from models.encoder.engines import ENGINES, REFERENCE
from models.encoder.result import write_rows
from models.shared.bundle_files import BundleError
from models.shared.runtimes.graph import Runtime, RuntimeUnavailableError
from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    selftest = commands.add_parser("selftest", help="compare this machine's engines on the selected bundle")
    selftest.add_argument("--engine", choices=ENGINES[1:], help="compare this one only, and fail without it")
    selftest.add_argument("--out", default="build/selftest", metavar="FOLDER", help="folder for result.json")
    add_config(selftest)
    selftest.set_defaults(run=_selftest)


def _selftest(chosen: argparse.Namespace) -> int:
    settings = settings_of(chosen)
    bundle = selected_bundle(settings)
    rows = _compare_with_checkpoint(bundle, settings)
    named = chosen.engine or (settings.encode.engine if settings.encode.engine in ENGINES[1:] else None)
    for name in [chosen.engine] if chosen.engine else ENGINES[1:]:
        try:
            runtime = open_engine(name, settings)
        except RuntimeUnavailableError as exc:
            if name == named:
                raise ConfigError(f"{name}: {exc}.", ReasonCode.PREREQUISITE_MISSING) from exc
            print(f"{name}: not compared, {exc}", file=sys.stderr)
            rows.append({"engine": name, "status": "skip", "reason": str(exc)})
            continue
        rows += _compare(bundle, runtime, settings)
    ok = not any(row["status"] == "fail" for row in rows)
    out = Path(chosen.out)
    out.mkdir(parents=True, exist_ok=True)
    print(write_rows(out, command="selftest", ok=ok, metrics=rows, artifacts={"bundle": bundle.info.bundle_id}))
    return 0 if ok else 1


def _compare_with_checkpoint(bundle: Bundle, settings: Settings) -> list[dict[str, object]]:
    """Hold the reference to what the import kept of the checkpoint, where the bundle was imported."""
    try:
        compared = list(compare_with_checkpoint(bundle, open_engine(REFERENCE, settings)))
    except (BundleError, EngineError) as exc:
        print(f"{REFERENCE}: failed: {exc}", file=sys.stderr)
        return [{"engine": REFERENCE, "status": "fail", "reason": str(exc)}]
    if not compared:
        why = "the bundle keeps no answers of a checkpoint; other engines are compared with this one"
        print(f"{REFERENCE}: the reference; {why}", file=sys.stderr)
        return [{"engine": REFERENCE, "status": "skip", "reason": why}]
    print(f"{REFERENCE} against the checkpoint of {bundle.info.bundle_id}", file=sys.stderr)
    for one in compared:
        _tell(one)
    return [one.as_row() for one in compared]


def _compare(bundle: Bundle, runtime: Runtime, settings: Settings) -> list[dict[str, object]]:
    print(f"{runtime.name} against {REFERENCE} on {bundle.info.bundle_id}", file=sys.stderr)
    began_s = time.monotonic()
    compared: list[Compared] = []
    try:
        for one in compare_engines(bundle, open_engine(REFERENCE, settings), runtime, _tell_family):
            compared.append(one)
            _tell(one)
    except (BundleError, EngineError) as exc:
        print(f"{runtime.name}: failed: {exc}", file=sys.stderr)
        failed: dict[str, object] = {"engine": runtime.name, "status": "fail", "reason": str(exc)}
        return [*(one.as_row() for one in compared), failed]
    remember(bundle, runtime, compared, settings)
    print(f"  {time.monotonic() - began_s:.1f} s", file=sys.stderr)
    return [one.as_row() for one in compared]


def _tell_family(modality: str) -> None:
    print(f"  {modality} compared", file=sys.stderr)


def _tell(one: Compared) -> None:
    mark = "pass" if one.agreement.ok else "FAIL"
    told = f"{one.family:<14} {one.agreement.quantity:<24} {one.agreement.value:<12.8g} limit {one.agreement.limit:g}"
    print(f"  {mark}  {told}", file=sys.stderr)
