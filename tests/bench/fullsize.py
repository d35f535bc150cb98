"""A seed enters; a retrieval checkpoint of the published sizes and layout with random weights leaves, in one file.

    python -m tests.bench.fullsize OUT.safetensors [--seed N] [--no-text]
    python -m tests.bench.fullsize OUT.pt          a torch pickle {"model": ...}, for which torch must be installed

Entries are drawn one by one from their own seed: the same seed gives the same bytes, in either container.
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.layout import PUBLISHED, Entry, PublishedSizes, Start, entries

_PICKLES = (".pt", ".pth", ".bin", ".ckpt")
_INITIAL_LOG_TEMPERATURE = math.log(0.07)


def write_checkpoint(path: Path, *, seed: int = 0, text: bool = True, sizes: PublishedSizes = PUBLISHED) -> None:
    """Write the checkpoint to `path`; its ending says whether as safetensors or as a torch pickle."""
    chosen = list(entries(sizes, text=text))
    if path.suffix in _PICKLES:
        _write_pickle(path, chosen, seed)
    else:
        _write_safetensors(path, chosen, seed)


def draw(entry: Entry, seed: int) -> NDArray[Any]:
    """Values of one entry. Norms scatter about one and biases about zero, so that none of them can be left out."""
    digest = hashlib.sha256(f"{seed}/{entry.key}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    kind = np.dtype(np.float64 if entry.double else np.float32)
    if entry.start is Start.SCALAR:
        return np.array(_INITIAL_LOG_TEMPERATURE, dtype=kind)
    values = random.random(entry.shape, dtype=np.float32)
    values -= np.float32(0.5)
    values *= np.float32(2 * _spread(entry))
    if entry.start is Start.NORM:
        values += np.float32(1)
    return values


def _spread(entry: Entry) -> float:
    """Half width of the interval that the values are drawn from; Xavier's for matrices."""
    if entry.start is Start.WEIGHT and len(entry.shape) == 2:
        return math.sqrt(6 / sum(entry.shape))
    if entry.start is Start.WEIGHT:
        return 1 / math.sqrt(math.prod(entry.shape[1:]))  # a depth-wise kernel
    if entry.start is Start.ROWS:
        return math.sqrt(3 / entry.shape[-1])  # rows of about unit length
    return 0.1


def _write_safetensors(path: Path, chosen: Sequence[Entry], seed: int) -> None:
    """Write header, then entry after entry, so that one at a time is in memory; the wider ones first, for alignment."""
    ordered = sorted(chosen, key=lambda entry: (not entry.double, entry.key))
    header: dict[str, dict[str, object]] = {}
    offset = 0
    for entry in ordered:
        size = math.prod(entry.shape) * (8 if entry.double else 4)
        kind = "F64" if entry.double else "F32"
        header[entry.key] = {"dtype": kind, "shape": list(entry.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry in ordered:
            file.write(draw(entry, seed).tobytes())


def _write_pickle(path: Path, chosen: Sequence[Entry], seed: int) -> None:
    import torch  # noqa: PLC0415 - the other container is written without torch

    state = {entry.key: torch.from_numpy(np.array(draw(entry, seed))) for entry in chosen}
    torch.save({"model": state}, path)


def shapes(*, text: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every key of the published layout with its shape."""
    return ((entry.key, entry.shape) for entry in entries(text=text))


def main(arguments: list[str]) -> int:
    """Write the checkpoint; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fullsize", description=__doc__)
    parser.add_argument("out", type=Path, help=f"file to write; a torch pickle where it ends in {', '.join(_PICKLES)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text", action=argparse.BooleanOptionalAction, default=True, help="with the text encoder")
    chosen = parser.parse_args(arguments)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(chosen.out, seed=chosen.seed, text=chosen.text)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1e9:.2f} GB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
