"""Token ids of a batch enter; the three rows of rotary positions (time, row, column) leave.

Text counts up alike on all three rows. An image block that starts at p gets (p, p + row, p + column); the next token
gets one more than the largest position so far. Padding gets 1 on every row and is never attended to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PADDING_POSITION: Final = 1

IntArray = NDArray[np.int64]


class ImageBlockError(ValueError):
    """A run of image tokens is not a whole number of images. `length`: its tokens, `image_tokens`: of one image."""

    def __init__(self, *, length: int, image_tokens: int) -> None:
        self.length = length
        self.image_tokens = image_tokens
        super().__init__(f"{length} image tokens in a row are no whole number of images of {image_tokens}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RotaryPositions:
    """Positions of a prompt.

    Attributes
    ----------
    ids
        (3, b, s) int64.
    next_position
        (b,) int64: what the first generated token gets on all three rows; each later one gets one more.
    rope_delta
        (b, 1) int64: `next_position` less the padded length, as Qwen2.5-VL stores it.
    """

    ids: IntArray
    next_position: IntArray

    @property
    def rope_delta(self) -> IntArray:
        """(b, 1): next position less the padded length."""
        delta: IntArray = self.next_position[:, None] - self.ids.shape[2]
        return delta


def rotary_positions(
    token_ids: IntArray, attention_mask: IntArray, *, image_token: int, grid_side: int
) -> RotaryPositions:
    """Place `token_ids` (b, s); `attention_mask` (b, s) is 0 on padding, on either side. Raises ImageBlockError."""
    batch, length = token_ids.shape
    ids = np.full((3, batch, length), PADDING_POSITION, dtype=np.int64)
    following = np.zeros(batch, dtype=np.int64)
    for row in range(batch):
        kept = attention_mask[row] != 0
        positions = _row_positions(token_ids[row, kept] == image_token, grid_side)
        ids[:, row, kept] = positions
        following[row] = positions.max(initial=-1) + 1
    return RotaryPositions(ids=ids, next_position=following)


def _row_positions(is_image: NDArray[np.bool_], grid_side: int) -> IntArray:
    """Positions (3, n) of one prompt without padding."""
    count = grid_side**2
    cell = np.indices((grid_side, grid_side)).reshape(2, count)
    image = np.concatenate((np.zeros((1, count), dtype=np.int64), cell))
    positions = np.zeros((3, len(is_image)), dtype=np.int64)
    edges = np.flatnonzero(np.diff(is_image)) + 1
    start_position = 0
    for run in np.split(np.arange(len(is_image)), edges):
        if not len(run):
            continue
        if not is_image[run[0]]:
            positions[:, run] = start_position + np.arange(len(run))
            start_position += len(run)
            continue
        if len(run) % count:
            raise ImageBlockError(length=len(run), image_tokens=count)
        for block in run.reshape(-1, count):
            positions[:, block] = start_position + image
            start_position += grid_side
    return positions
