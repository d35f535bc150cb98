"""The seam to a vision language model: images are looked at once, then any number of prompts about them are answered.

An engine imports no torch. `VlmInfo` says what a bundle takes; anything else is a `VlmError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmFamily:
    """One kind of image: `depth` 1 for planes, else the slices of a volume; `router` is the expert it takes."""

    modality: str
    router: int
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmInfo:
    """What a bundle is and what it takes. Images are `input_side_px` square and become `grid_side` ** 2 tokens.

    `max_tokens` bounds prompt and answer together, `stop_ids` end an answer.
    """

    bundle_id: str
    name: str
    version: str
    bundle_sha256: str
    families: tuple[VlmFamily, ...]
    input_side_px: int
    grid_side: int
    feature_width: int
    vocabulary: int
    max_tokens: int
    stop_ids: tuple[int, ...]

    def family(self, modality: str) -> VlmFamily:
        """Find the family of a modality. Raises ModalityNotServedError."""
        for family in self.families:
            if family.modality == modality:
                return family
        raise ModalityNotServedError(modality=modality, bundle_id=self.bundle_id)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFeatures:
    """Images of one modality as the text stack sees them: (k, n, d) float32, n = grid_side ** 2, in prompt order."""

    modality: str
    features: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """One question. The images come first in the prompt, in order (Case A, Case B); `images` None asks without any."""

    question: str
    images: ImageFeatures | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How to choose tokens. The defaults are in effect those of the published model.

    `temperature` 0 always takes the likeliest token. `top_k` 0 and `top_p` 1 leave the choice open.
    `repetition_penalty` > 1 makes tokens of the prompt and of the answer so far less likely. `seed` fixes what is
    drawn: row i of a call draws from its own generator (seed, i), whatever the other rows do.

    Raises GenerationOptionError.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.05
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "max_new_tokens": self.max_new_tokens >= 1,
            "temperature": 0 <= self.temperature < float("inf"),
            "top_k": self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
            "repetition_penalty": 0 < self.repetition_penalty < float("inf"),
            "seed": self.seed >= 0,
        }
        for name, is_valid in bounds.items():
            if not is_valid:
                raise GenerationOptionError(option=name)


class StopReason(StrEnum):
    """Why an answer ended."""

    ENDED = "ended"  # by a stop token of the model
    LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: its text without special tokens, its tokens without the one that ended it."""

    text: str
    token_ids: tuple[int, ...]
    stop: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPiece:
    """The next text of prompt `row`, whole characters only. A row's last piece has `stop`; its text may be empty."""

    row: int
    text: str
    token_ids: tuple[int, ...] = field(default=())
    stop: StopReason | None = None


class VisionLanguageModel(Protocol):
    """An engine that has opened one bundle."""

    @property
    def info(self) -> VlmInfo:
        """What the opened bundle is."""
        ...

    def look(self, images: Sequence[FloatArray], modality: str) -> ImageFeatures:
        """Encode images of one modality: each (S, S), or (D, S, S) for volumes, float32. Reusable in any prompt.

        Raises ModalityNotServedError, ImageShapeError, VlmFailureError.
        """
        ...

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions) -> list[Answer]:
        """Answer prompts together; each gets what it would get alone. Raises PromptTooLongError, VlmFailureError."""
        ...

    def stream(self, prompts: Sequence[Prompt], options: GenerationOptions) -> Iterator[TextPiece]:
        """As `generate`, piece by piece as tokens come; close the iterator to stop. Same errors, at the first piece."""
        ...


class VlmError(Exception):
    """An engine could not do what it was asked. Base of the errors below.

    VlmError > ImageShapeError | ModalityNotServedError | PromptTooLongError | GenerationOptionError | VlmFailureError
    """


class ImageShapeError(VlmError, ValueError):
    """Image number `image` (from 0) has a shape or type that its modality does not take."""

    def __init__(self, *, image: int, expected: str, got: str) -> None:
        self.image = image
        self.expected = expected
        self.got = got
        super().__init__(f"image {image}: expected {expected}, got {got}")


class ModalityNotServedError(VlmError, LookupError):
    """The bundle has no expert for this modality."""

    def __init__(self, *, modality: str, bundle_id: str) -> None:
        self.modality = modality
        self.bundle_id = bundle_id
        super().__init__(f"bundle {bundle_id} does not serve {modality}")


class PromptTooLongError(VlmError, ValueError):
    """Prompt number `row` and its answer could exceed what the model can hold."""

    def __init__(self, *, row: int, token_count: int, max_tokens: int) -> None:
        self.row = row
        self.token_count = token_count
        self.max_tokens = max_tokens
        super().__init__(f"prompt {row}: {token_count} tokens with its answer, the model holds {max_tokens}")


class GenerationOptionError(VlmError, ValueError):
    """A generation option is out of range."""

    def __init__(self, *, option: str) -> None:
        self.option = option
        super().__init__(f"generation option out of range: {option}")


class VlmFailureError(VlmError, RuntimeError):
    """The runtime failed on valid input (out of memory, a broken graph), or gave what is not a number."""
