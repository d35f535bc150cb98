"""Prompts as tokens enter; the tokens of their answers leave, one at a time, whatever runtime does the arithmetic.

Prompts of one call are padded on the left to one length and decoded together. Each row keeps its own rotary positions,
so it gets what it would get alone (the research code decodes padded rows at wrong positions). What all prompts of a
call begin with (the system turn and the same images) goes through the model once. Rows that end leave the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.vlm.engine import FloatArray, GenerationOptions, IntArray, StopReason
from models.vlm.positions import rotary_positions
from models.vlm.sampling import next_token


class DecoderState(Protocol):
    """The sequences of one call and their keys and values so far."""

    def step(
        self, embeds: FloatArray, attention_mask: IntArray, position_ids: IntArray, logit_columns: IntArray
    ) -> FloatArray:
        """Append `embeds` (b, s, d) at `position_ids` (3, b, s); `attention_mask` (b, past + s).

        Returns logits (b, r, v) of the r columns of s that `logit_columns` names.
        """
        ...

    def keep_rows(self, rows: IntArray) -> None:
        """Keep these rows of the batch, in this order; a row may be named more than once."""
        ...


class Decoder(Protocol):
    """The text stack in some runtime."""

    def embed(self, token_ids: IntArray) -> FloatArray:
        """Rows (..., d) of the embedding table."""
        ...

    def start(self) -> DecoderState:
        """Begin with an empty cache."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLayout:
    """Tokens with a role, and the patch grid of one image."""

    image_token: int
    pad_token: int
    grid_side: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenPrompt:
    """One prompt: `token_ids` (s,) int64, and `features` (m, d) for its m image tokens in order."""

    token_ids: IntArray
    features: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """The next token of prompt `row`. `stop` is set on its last one; a stop token itself is included."""

    row: int
    token_id: int
    stop: StopReason | None


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What the running rows of a call need for the next step."""

    rows: IntArray
    mask: IntArray
    positions: IntArray
    seen: np.ndarray


def decode(
    decoder: Decoder,
    layout: PromptLayout,
    prompts: Sequence[TokenPrompt],
    options: GenerationOptions,
    stop_ids: frozenset[int],
) -> Iterator[NewToken]:
    """Generate for all prompts together; tokens of one step come in row order. Raises ImageBlockError."""
    if not prompts:
        return
    state = decoder.start()
    batch, logits = _prefill(decoder, state, layout, prompts)
    generators = [np.random.default_rng((options.seed, row)) for row in range(len(prompts))]
    for count in range(1, options.max_new_tokens + 1):
        tokens = np.array(
            [
                next_token(logits[place], batch.seen[place], options, generators[row])
                for place, row in enumerate(batch.rows)
            ],
            dtype=np.int64,
        )
        stops = [_stop(int(token), count, options, stop_ids) for token in tokens]
        for row, token, stop in zip(batch.rows, tokens, stops, strict=True):
            yield NewToken(row=int(row), token_id=int(token), stop=stop)
        running = np.flatnonzero([stop is None for stop in stops])
        if not len(running):
            return
        logits = _advance(decoder, state, batch, tokens, running)


def all_logits(decoder: Decoder, layout: PromptLayout, prompts: Sequence[TokenPrompt]) -> FloatArray:
    """Logits (b, s, v) at every column of the left-padded prompts, in one pass."""
    ids, mask = left_padded([prompt.token_ids for prompt in prompts], layout.pad_token)
    embeds = _embed(decoder, layout, ids, [prompt.features for prompt in prompts])
    positions = rotary_positions(ids, mask, image_token=layout.image_token, grid_side=layout.grid_side)
    return decoder.start().step(embeds, mask, positions.ids, np.arange(ids.shape[1]))


def left_padded(rows: Sequence[IntArray], pad_token: int) -> tuple[IntArray, IntArray]:
    """Rows of ids to (b, s) ids and their mask, padding before the row."""
    length = max(len(row) for row in rows)
    ids = np.full((len(rows), length), pad_token, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for number, row in enumerate(rows):
        start = length - len(row)
        ids[number, start:] = row
        mask[number, start:] = 1
    return ids, mask


def shared_length(prompts: Sequence[TokenPrompt]) -> int:
    """How many leading tokens all prompts share, image content included; each keeps at least one token of its own."""
    first = prompts[0]
    if any(prompt.features is not first.features for prompt in prompts):
        return 0
    shortest = min(len(prompt.token_ids) for prompt in prompts) - 1
    ids = np.stack([prompt.token_ids[:shortest] for prompt in prompts])
    differs = (ids != ids[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shortest


def _prefill(
    decoder: Decoder, state: DecoderState, layout: PromptLayout, prompts: Sequence[TokenPrompt]
) -> tuple[_Batch, FloatArray]:
    """Run the prompts, what they share once, the rest padded. Returns the batch and the last tokens' logits (b, v)."""
    count = len(prompts)
    shared = shared_length(prompts) if count > 1 else 0
    whole = [
        rotary_positions(
            prompt.token_ids[None],
            np.ones((1, len(prompt.token_ids)), dtype=np.int64),
            image_token=layout.image_token,
            grid_side=layout.grid_side,
        )
        for prompt in prompts
    ]
    used = 0
    if shared:
        ids = prompts[0].token_ids[None, :shared]
        used = int((ids == layout.image_token).sum())
        embeds = _embed(decoder, layout, ids, [prompts[0].features[:used]])
        state.step(embeds, np.ones((1, shared), np.int64), whole[0].ids[:, :, :shared], np.array([shared - 1]))
        state.keep_rows(np.zeros(count, dtype=np.int64))
    ids, mask = left_padded([prompt.token_ids[shared:] for prompt in prompts], layout.pad_token)
    positions = np.ones((3, *ids.shape), dtype=np.int64)
    for row, placed in enumerate(whole):
        positions[:, row, mask[row] == 1] = placed.ids[:, 0, shared:]
    embeds = _embed(decoder, layout, ids, [prompt.features[used:] for prompt in prompts])
    mask = np.concatenate((np.ones((count, shared), dtype=np.int64), mask), axis=1)
    logits = state.step(embeds, mask, positions, np.array([ids.shape[1] - 1]))[:, 0]
    seen = np.zeros(logits.shape, dtype=np.bool_)
    for row, prompt in enumerate(prompts):
        seen[row, prompt.token_ids] = True
    following = np.concatenate([placed.next_position for placed in whole])
    return _Batch(rows=np.arange(count), mask=mask, positions=following, seen=seen), logits


def _advance(decoder: Decoder, state: DecoderState, batch: _Batch, tokens: IntArray, running: IntArray) -> FloatArray:
    """Append `tokens` to the running rows, dropping the others. Returns logits (b, v)."""
    batch.seen[np.arange(len(tokens)), tokens] = True
    if len(running) < len(tokens):
        state.keep_rows(running)
        batch.rows, batch.mask = batch.rows[running], batch.mask[running]
        batch.positions, batch.seen = batch.positions[running], batch.seen[running]
    batch.mask = np.concatenate((batch.mask, np.ones((len(running), 1), dtype=np.int64)), axis=1)
    positions = np.broadcast_to(batch.positions[None, :, None], (3, len(running), 1)).copy()
    batch.positions = batch.positions + 1
    embeds = decoder.embed(tokens[running][:, None])
    return state.step(embeds, batch.mask, positions, np.zeros(1, dtype=np.int64))[:, 0]


def _embed(decoder: Decoder, layout: PromptLayout, ids: IntArray, features: Sequence[FloatArray]) -> FloatArray:
    """Embed ids (b, s) with each row's image features at its image tokens."""
    embeds = decoder.embed(ids)
    for row, rows in enumerate(features):
        embeds[row, ids[row] == layout.image_token] = rows
    return embeds


def _stop(token: int, count: int, options: GenerationOptions, stop_ids: frozenset[int]) -> StopReason | None:
    if token in stop_ids:
        return StopReason.ENDED
    return StopReason.LENGTH if count == options.max_new_tokens else None
