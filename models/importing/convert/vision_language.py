"""The folder of a vision language model and the choices of its import enter; a bundle and what is told of it leave."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from models.importing.facts import SourceFacts
from models.importing.papers import CARD_FILE, LICENSE_FILE, REPORT_FILE, license_text, origin_of
from models.importing.refusals import ImportRefusedError, refused
from models.importing.request import ImportRequest
from models.shared.bundle_files import write_sums
from models.shared.checkpoints import CheckpointError
from models.vlm.nets.convert import VlmImport, convert_vlm

logger = logging.getLogger(__name__)


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
    report = {"unused": list(made.unused)}
    (out / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / CARD_FILE).write_text(_card(source, request), encoding="utf-8")
    (out / LICENSE_FILE).write_text(license_text(source, request), encoding="utf-8")
    write_sums(out)
    towers = [modality for tower in wanted.towers for modality in tower.modalities]
    return {"keys": {"known_unused": len(made.unused), "unknown": []}, "families": towers}


def _progress(step: str, done: int, total: int) -> None:
    if done == total or done % max(1, total // 20) == 0:
        logger.info("import.converting", extra={"step": step, "done": done, "of": total})


def _card(source: SourceFacts, request: ImportRequest) -> str:
    origin = "\n".join(f"| {key.replace('_', ' ')} | {value} |" for key, value in origin_of(source, request).items())
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
- The conversion was checked by names and shapes; what its graphs compute was not compared with the checkpoint.
- Ultrasound images go the way of chest films: the published model infers the expert from the depth of the input.
"""
