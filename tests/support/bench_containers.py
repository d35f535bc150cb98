"""A folder enters; the same checkpoint is written there in both containers and read back. Needs torch."""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.bench.fullsize import write_checkpoint
from tests.bench.layout import SMALL


def main(folder: Path) -> int:
    """Return 0 where both containers hold the same tensors."""
    write_checkpoint(folder / "x.safetensors", seed=3, sizes=SMALL)
    write_checkpoint(folder / "x.pt", seed=3, sizes=SMALL)
    plain = load_file(folder / "x.safetensors")
    pickled = torch.load(folder / "x.pt", weights_only=True)["model"]
    same = plain.keys() == pickled.keys() and all(torch.equal(value, pickled[key]) for key, value in plain.items())
    types = all(value.dtype == pickled[key].dtype for key, value in plain.items())
    return 0 if same and types else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
