"""The folder of a vision language model and the choices of its import enter; a bundle and what is told of it leave."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from models.importing.facts import SourceFacts
from models.importing.papers import CARD_FILE, LICENSE_FILE, REPORT_FILE, cell, license_text, origin_of
from models.importing.refusals import ImportRefusedError, SelfTestFailedError, refused
from models.importing.request import ImportRequest
from models.importing.selftest_data import MAX_RELATIVE_ERROR
from models.shared.bundle_files import write_sums
from models.shared.checkpoints import CheckpointError
from models.vlm.bundle import DECODER_FILE
from models.vlm.nets.convert import VlmImport, convert_vlm
from models.vlm.nets.verify import VlmDifference, verify_vlm

logger = logging.getLogger(__name__)

_LARGEST_TESTED_BYTES: Final = 1_800_000_000  # four layers of full width, 2.3 GB of files, took 8.3 GB to run
_UNTESTED: Final = (
    "The conversion was checked by names and shapes; what its decoder computes was not compared on import."
)
_TESTED: Final = (
    "The graphs were compared with the checkpoint: off by {0.vision:.1e} (vision) and {0.decoder:.1e} (decoder) of the "
    "largest value."
)


def import_vlm(path: Path, source: SourceFacts, request: ImportRequest, out: Path) -> dict[str, Any]:
    """Write the bundle to the empty folder `out`. Raises ImportRefusedError."""
    if not path.is_dir():
        sentence = (
            f"{source.name} is part of a vision language model: give the folder that holds its configuration too."
        )
        raise ImportRefusedError("not-a-folder", sentence)
    wanted = VlmImport(name=request.name, version=request.version, origin=origin_of(source, request))
    try:
        made = convert_vlm(path, out, _progress, wanted=wanted)
    except CheckpointError as exc:
        raise refused(source.name, exc) from exc
    difference = _tested(path, out)
    report = {"unused": list(made.unused), "selftest": None if difference is None else asdict(difference)}
    (out / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / CARD_FILE).write_text(_card(source, request, difference), encoding="utf-8")
    (out / LICENSE_FILE).write_text(license_text(source, request), encoding="utf-8")
    write_sums(out)
    towers = [modality for tower in wanted.towers for modality in tower.modalities]
    keys = {"known_unused": len(made.unused), "unknown": []}
    return {"keys": keys, "families": towers, "selftest": report["selftest"]}


def _tested(path: Path, out: Path) -> VlmDifference | None:
    """Compare the graphs with the nets; None where the decoder is too large to be opened in the memory of an import.

    Raises SelfTestFailedError.
    """
    size = sum(file.stat().st_size for file in (out / DECODER_FILE).parent.glob("decoder*"))
    if size > _LARGEST_TESTED_BYTES:
        logger.info("import.not_tested", extra={"decoder_bytes": size})
        return None
    logger.info("import.testing", extra={"family": "decoder"})
    difference = verify_vlm(path, out)
    worst = max(difference.vision, difference.decoder)
    if not worst <= MAX_RELATIVE_ERROR:
        raise SelfTestFailedError(
            f"The graphs do not compute what the checkpoint does: they are off by {worst:.1e} of the largest value."
        )
    return difference


def _progress(step: str, done: int, total: int) -> None:
    if done == total or done % max(1, total // 20) == 0:
        logger.info("import.converting", extra={"step": step, "done": done, "of": total})


def _card(source: SourceFacts, request: ImportRequest, difference: VlmDifference | None) -> str:
    tested = _UNTESTED if difference is None else _TESTED.format(difference)
    origin = "\n".join(
        f"| {key.replace('_', ' ')} | {cell(value)} |" for key, value in origin_of(source, request).items()
    )
    return f"""# {request.name} {request.version}

A MedReCo-VLM checkpoint, imported into Interval. **Nothing of it was measured here, and it was never clinically
validated.** Its text is a suggestion that a radiologist checks.

| | |
|---|---|
{origin}

## Figures

None. Measure it on your own labelled studies before you rely on it.

## Limits

- The data that it was trained on are not stated.
- {tested}
- Ultrasound images go the way of chest films: the published model infers the expert from the depth of the input.
"""
