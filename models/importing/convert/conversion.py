"""The path of a checkpoint and a request enter; a bundle of its kind is written, and what is told of it leaves."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.encoder.bundle import RETRIEVAL_KIND
from models.importing.convert.reading import read_source
from models.importing.convert.retrieval import import_retrieval
from models.importing.convert.vision_language import import_vlm
from models.importing.request import ImportRequest
from models.vlm.bundle import VLM_KIND

logger = logging.getLogger(__name__)


def convert(path: Path, request: ImportRequest, out: Path) -> dict[str, Any]:
    """Write the bundle to the empty folder `out`. Raises ImportRefusedError, SelfTestFailedError."""
    logger.info("import.reading", extra={"file": path.name})
    source = read_source(path)
    if source.is_vlm:
        facts = source.facts
        del source  # its tensors are mapped; they are read anew, one at a time
        return {"kind": VLM_KIND, "source": asdict(facts)} | import_vlm(path, facts, request, out)
    imported = import_retrieval(source, request, out)
    paper = imported.paper
    return {
        "kind": RETRIEVAL_KIND,
        "source": asdict(paper.source),
        "keys": asdict(paper.weights.keys),
        "experts": [asdict(expert) | {"verdict": expert.verdict} for expert in paper.weights.experts],
        "betas": {"stored": paper.weights.betas, "not_zero": paper.weights.moved_betas},
        "doubts": list(paper.doubts),
        "families": [family.recipe.modality for family in paper.families],
        "selftest": {test.modality: [asdict(deviation) for deviation in test.deviations] for test in imported.tests},
    }
