"""Why a checkpoint is not imported: an error of the reading or of the nets enters, one sentence for an admin leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.shared.checkpoints import CheckpointError

_SENTENCES: Final[Mapping[str, str]] = {
    "missing-key": "is not a complete checkpoint: it lacks {keys}.",
    "unknown-key": "holds entries that no model here knows: {keys}.",
    "duplicate-key": "holds the same entry twice: {keys}.",
    "wrong-shape": "holds entries of the wrong shape: {keys}.",
    "wrong-type": "holds entries that are no plain floating-point tensors: {keys}.",
    "not-finite": "holds weights that are not numbers (NaN or infinite): {keys}.",
    "not-square": "has patches that are not square: {keys}.",
    "odd-heads": "has a width that its attention heads do not divide.",
    "odd-side": "does not fit images of this side: it must be a multiple of the patch, on at most 24 x 24 patches.",
    "missing-file": "is not complete: the file {keys} is missing.",
    "bad-index": "has an index of its parts that cannot be read: {keys}.",
    "not-safetensors": "is not a checkpoint: it has neither the form of safetensors nor that of a torch file.",
    "truncated-file": "is damaged, ends too early, or is no checkpoint: {keys}.",
    "unsupported-type": "holds entries of a number type that is not read here: {keys}.",
    "missing-config": "has a configuration that does not say {keys}.",
    "bad-config": "has a configuration that cannot be right: {keys}.",
}
_SHOWN: Final = 3


class ImportRefusedError(Exception):
    """The source is not imported. `code` says why for programs, `sentence` for an admin."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        self.sentence = sentence
        super().__init__(sentence)


class SelfTestFailedError(Exception):
    """What was exported does not compute what the checkpoint does; `sentence` says where and by how much."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


def refused(source_name: str, error: CheckpointError) -> ImportRefusedError:
    """Say in one sentence why the checkpoint called `source_name` is refused."""
    template = _SENTENCES.get(error.code, f"cannot be used ({error.code}): {{keys}}.")
    if error.keys in ((), (source_name,)):
        template = template.replace(": {keys}", "")
    rest = template.format(keys=_shown(error.keys))
    return ImportRefusedError(error.code, f"{source_name} {rest}")


def _shown(keys: tuple[str, ...]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
