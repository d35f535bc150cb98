"""Tokeniser files of a published folder enter; text to tokens and tokens to text leave.

Byte-level BPE: every token is a string of bytes, and a character of several bytes may be spread over several tokens.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from models.vlm.byte_alphabet import byte_alphabet
from models.vlm.chat import ImagePads, Mark, Part
from models.vlm.engine import IntArray

TOKENIZER_FILE: Final = "tokenizer.json"
VOCABULARY_FILE: Final = "vocab.json"
MERGES_FILE: Final = "merges.txt"
CONFIG_FILE: Final = "tokenizer_config.json"
ADDED_FILE: Final = "added_tokens.json"
TOKENIZER_FILES: Final = (TOKENIZER_FILE, VOCABULARY_FILE, MERGES_FILE, CONFIG_FILE, ADDED_FILE)
# How Qwen2 cuts text into words before merging bytes (its published tokenizer.json).
_BYTE_OF: Final = byte_alphabet()
_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TokenizerError(ValueError):
    """The tokeniser files cannot be used; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"tokeniser refused: {reason}")


class ChatTokenizer:
    """Tokens of prompts and text of answers."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        """Check that every mark of the prompt is a token and every token is bytes. Raises TokenizerError."""
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True  # text that spells a special token stays text
        self._added = dict(tokenizer.get_added_tokens_decoder().items())
        self._marks = {mark: self._mark_id(mark) for mark in Mark}
        if any(set(token) - set(_BYTE_OF) for token in tokenizer.get_vocab(with_added_tokens=False)):
            raise TokenizerError("its tokens are not byte-level")

    def mark(self, mark: Mark) -> int:
        """Id of a mark of the prompt."""
        return self._marks[mark]

    def encode(self, parts: Iterable[Part], *, image_token: int, image_tokens: int) -> IntArray:
        """Ids (s,) of a prompt; an image's place becomes `image_tokens` times `image_token`."""
        ids: list[int] = []
        for part in parts:
            if isinstance(part, Mark):
                ids.append(self._marks[part])
            elif isinstance(part, ImagePads):
                ids.extend([image_token] * image_tokens)
            else:
                ids.extend(self._tokenizer.encode(part.text, add_special_tokens=False).ids)
        return np.array(ids, dtype=np.int64)

    def token_bytes(self, token_id: int) -> bytes:
        """Bytes that a token stands for; none for a special token or an id without a token."""
        added = self._added.get(token_id)
        if added is not None:
            return b"" if added.special else added.content.encode()
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        return bytes(_BYTE_OF[character] for character in token)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of a whole answer, special tokens left out."""
        return b"".join(map(self.token_bytes, token_ids)).decode("utf-8", errors="replace")

    def stream(self) -> TextStream:
        """Begin to decode token by token."""
        return TextStream(self)

    def _mark_id(self, mark: Mark) -> int:
        for number, token in self._added.items():
            if token.content == mark.value:
                return int(number)
        raise TokenizerError(f"{mark.value} is no special token")


class TextStream:
    """Text of an answer as its tokens come, never a part of a character."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Text that this token completes; bytes of an unfinished character wait."""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        """Close the answer: bytes that never became a character come as U+FFFD."""
        return self._decoder.decode(b"", final=True)


def load_tokenizer(folder: Path) -> ChatTokenizer:
    """Load `tokenizer.json`, else `vocab.json` and `merges.txt` with the added tokens beside them.

    Raises TokenizerError.
    """
    try:
        if (folder / TOKENIZER_FILE).is_file():
            return ChatTokenizer(_from_one_file((folder / TOKENIZER_FILE).read_text(encoding="utf-8")))
        return ChatTokenizer(_from_merges(folder))
    except FileNotFoundError as exc:
        raise TokenizerError(f"neither {TOKENIZER_FILE} nor {VOCABULARY_FILE} and {MERGES_FILE}") from exc
    except (UnicodeDecodeError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as exc:
        raise TokenizerError("a file is damaged") from exc


def _from_one_file(text: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as exc:  # the library raises bare Exception for a text that it cannot read
        raise TokenizerError(f"{TOKENIZER_FILE} is damaged") from exc


def _from_merges(folder: Path) -> tokenizers.Tokenizer:
    vocabulary = json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8"))
    lines = (folder / MERGES_FILE).read_text(encoding="utf-8").split("\n")
    cut = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#version")]
    pairs = [(left, right) for left, _, right in cut]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for number, token in sorted(_added_tokens(folder).items()):
        tokenizer.add_tokens([token])
        if tokenizer.token_to_id(token.content) != number:
            raise TokenizerError(f"added token {number} does not follow the vocabulary")
    return tokenizer


def _added_tokens(folder: Path) -> dict[int, AddedToken]:
    """Read the added tokens by id, as `tokenizer_config.json` or `added_tokens.json` lists them."""
    config: Mapping[str, Any] = {}
    if (folder / CONFIG_FILE).is_file():
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if listed := config.get("added_tokens_decoder"):
        return {
            int(number): AddedToken(row["content"], special=bool(row.get("special", True)), normalized=False)
            for number, row in listed.items()
        }
    plain = json.loads((folder / ADDED_FILE).read_text(encoding="utf-8"))
    return {int(number): AddedToken(content, special=True, normalized=False) for content, number in plain.items()}
