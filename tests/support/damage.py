"""Reads damaged copies of objects given as files and prints what came of each, as JSON; run in a process of its own.

    python -m tests.support.damage COUNT SEED FILE...

A decoder that ends the process on damaged input ends this one, and the caller sees it by the exit status.
"""

import json
import logging
import random
import sys
import warnings
from collections import Counter
from pathlib import Path

import pydicom
from pydicom.encaps import encapsulate, get_frame

from models.shared.pixels import PixelError, read_frame


def damaged(chance: random.Random, content: bytes) -> bytes:
    """A codestream cut short, or with some bits or bytes changed; the first two bytes and an end marker stay."""
    changed = bytearray(content)
    if chance.random() < 0.25:
        return bytes(changed[: chance.randrange(2, len(changed))]) + b"\xff\xd9"
    for _ in range(chance.choice((1, 1, 2, 3, 8, 32))):
        at = chance.randrange(2, len(changed) if chance.random() < 0.6 else min(len(changed), 200))
        changed[at] = (
            changed[at] ^ 1 << chance.randrange(8) if chance.random() < 0.5 else chance.choice((0, 0xFF, 0x7F))
        )
    return bytes(changed)


def outcomes(path: Path, count: int, seed: int) -> Counter[str]:
    """Read `count` damaged copies of an object; how often each outcome came."""
    ds = pydicom.dcmread(path)
    codestream = get_frame(ds.PixelData, 0, number_of_frames=1)
    chance = random.Random(seed)  # noqa: S311 - damage needs no secrecy
    seen: Counter[str] = Counter()
    for _ in range(count):
        ds.PixelData = encapsulate([damaged(chance, codestream)])
        ds["PixelData"].is_undefined_length = True
        try:
            read_frame(ds)
            seen["frame"] += 1
        except PixelError as error:
            seen[error.code.value] += 1
    return seen


def main() -> None:
    """Read the files that the command line names."""
    logging.disable(logging.CRITICAL)  # pydicom logs a traceback for each
    warnings.simplefilter("ignore")
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    print(json.dumps({Path(name).stem: outcomes(Path(name), count, seed) for name in sys.argv[3:]}))


if __name__ == "__main__":
    main()
