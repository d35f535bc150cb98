"""Nothing enters; what both sides of the model's benchmarks work on leaves: families, threads, and their inputs."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.shared.pixels import model_input, read_image_file

FILM: Final = "2D-CXR"
CT: Final = "3D-CT"
THREADS: Final = 2
SIDE_PX: Final = 480
CT_DEPTH: Final = 240
TOP_K: Final = 128
CANDIDATES: Final = 50
_TOKENS, _WIDTH = 576, 512
_FILM = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "films" / "bb4c4038.jpg"
_SEED = 20260606


def film() -> NDArray[np.float32]:
    """Load a real film as the node hands it to the model: (1, 480, 480)."""
    return model_input(read_image_file(_FILM), SIDE_PX)[None]


def ct() -> NDArray[np.float32]:
    """Make a volume (1, 240, 480, 480): noise in [0, 1] within a frame of padding, -1."""
    random = np.random.default_rng(_SEED)
    volume = random.random((1, CT_DEPTH, SIDE_PX, SIDE_PX), dtype=np.float32)
    volume[:, :, :40] = volume[:, :, -40:] = volume[:, :20] = volume[:, -20:] = -1
    return volume


def stored_tokens() -> NDArray[np.float32]:
    """Make the tokens of a query and its candidates: (1 + 50, 576, 512), spread like those of a last layer norm."""
    return np.random.default_rng(_SEED).standard_normal((1 + CANDIDATES, _TOKENS, _WIDTH), dtype=np.float32)
