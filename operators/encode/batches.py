"""Inputs enter one at a time; their tokens leave in the same order, each input encoded once and then let go.

Plain images wait for others, up to a number of images; a volume is so large that it is encoded alone, and no two of
them are held at once.
"""

import numpy as np

from models.encoder.engine import Encoder, FloatArray


class TokenMaker:
    """Encodes inputs of one family in batches of `batch_images`, volumes one by one. Raises EngineError."""

    def __init__(self, encoder: Encoder, batch_images: int) -> None:
        self.encoder = encoder
        self._most = batch_images if encoder.info.input_depth == 1 else 1
        self._waiting: list[FloatArray] = []
        self._tokens: list[FloatArray] = []

    def add(self, model_input: FloatArray) -> None:
        """Take an input; the caller lets go of it."""
        self._waiting.append(model_input)
        if len(self._waiting) >= self._most:
            self._encode()

    def tokens(self) -> FloatArray:
        """Return the tokens (b, n, d) of all inputs, in the order they came."""
        self._encode()
        return np.concatenate(self._tokens)

    def _encode(self) -> None:
        if self._waiting:
            self._tokens.append(self.encoder.encode(np.stack(self._waiting)))
            self._waiting.clear()
