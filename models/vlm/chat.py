"""A question and a number of images enter; the parts of a ChatML prompt leave: marks, text, image blocks.

Parts are kept apart so that a mark is never made out of text: a question that spells `<|im_end|>` stays a question.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEFAULT_SYSTEM: Final = "You are a helpful assistant."


class Mark(StrEnum):
    """Special tokens of the prompt, as the vocabulary spells them."""

    TURN_START = "<|im_start|>"
    TURN_END = "<|im_end|>"
    VISION_START = "<|vision_start|>"
    VISION_END = "<|vision_end|>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Words, which are tokenised without making special tokens."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePads:
    """The place of one image: as many image tokens as it has features."""


Part = Mark | Text | ImagePads


def chat_prompt(question: str, *, image_count: int, system: str | None = None) -> tuple[Part, ...]:
    """System turn, user turn (image blocks, then the question, nothing between), and the start of the answer."""
    images = (Mark.VISION_START, ImagePads(), Mark.VISION_END) * image_count
    return _joined(
        Mark.TURN_START,
        Text(text=f"system\n{DEFAULT_SYSTEM if system is None else system}"),
        Mark.TURN_END,
        Text(text="\n"),
        Mark.TURN_START,
        Text(text="user\n"),
        *images,
        Text(text=question),
        Mark.TURN_END,
        Text(text="\n"),
        Mark.TURN_START,
        Text(text="assistant\n"),
    )


def _joined(*parts: Part) -> tuple[Part, ...]:
    """Neighbouring texts become one, since a tokeniser may merge across their border."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(last, Text):
            joined[-1] = Text(text=last.text + part.text)
        else:
            joined.append(part)
    return tuple(joined)
