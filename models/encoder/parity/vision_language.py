"""The fixtures of MedReCo-VLM enter; checks of what its own comparison finds leave."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from models.encoder.parity.checks import Arrays, Check, Checker, MalformedError
from models.encoder.parity.inputs import images_of
from models.importing.refusals import refused
from models.shared.checkpoints import CheckpointError
from models.vlm.nets.parity import CHECKPOINT, CONFIG, VlmParity, vlm_checks

VLM_FILES: Final = frozenset({CHECKPOINT, CONFIG, "vlm_published_layout_keys.json"})
_INPUTS: Final = frozenset({"input_ids", "attention_mask", "pixel_values", "image_grid_thw"})
_EVIDENCE: Final = frozenset({"greedy_tokens", "greedy_tokens_rep_penalty_1_05"})
"""What the reference gets wrong for padded rows is in the files as evidence, beside the right tokens."""

_RIGHT_TOKENS: Final = "greedy_tokens_each_prompt_alone"


def vlm_checkers(folder: Path) -> tuple[Checker, ...]:
    """Checker of the files of MedReCo-VLM; its checkpoint is opened when the first of them is compared."""
    return (Checker("vlm_", _VlmFolder(folder).check, _INPUTS),)


class _VlmFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, name: str, arrays: Arrays, path: str) -> Iterator[Check]:
        """Compare one file. Raises MalformedError without a checkpoint, ImportRefusedError for one that is refused."""
        also = tuple(_EVIDENCE & arrays.keys()) if _RIGHT_TOKENS in arrays else ()
        whole = {key: values.astype(np.int64) for key, values in arrays.items() if values.dtype.kind in "iu"}
        given = {**arrays, **whole, "pixel_values": images_of(arrays, "pixel_values")}
        try:
            checks = self._parity.check(name, given, path)
        except CheckpointError as exc:
            raise refused(CONFIG if exc.code.endswith("config") else CHECKPOINT, exc) from exc
        for label, error, tolerance in checks:
            yield Check(label, error, tolerance, also)

    @cached_property
    def _parity(self) -> VlmParity:
        for file in (CHECKPOINT, CONFIG):
            if not (self._folder / file).is_file():
                raise MalformedError(f"{file} is missing in the folder")
        return vlm_checks(self._folder)
