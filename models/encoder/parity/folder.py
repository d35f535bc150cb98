"""A folder of fixtures enters; its model, what its configuration tells, and the paths through the model leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.encoder.nets.medreco import RetrievalModel, load_retrieval
from models.encoder.parity.checks import MalformedError
from models.encoder.parity.runners import OnnxRunner, Runner, TorchRunner
from models.importing.convert.reading import Source, read_source
from models.importing.refusals import refused
from models.shared.checkpoints import FUSION_HEADS, POSITION_GRID, RERANK_HEADS, CheckpointError

CHECKPOINTS: Final = tuple(f"retrieval.{ending}" for ending in ("safetensors", "pt", "pth", "bin", "ckpt"))
"""Names a checkpoint may have; of several, the first."""

CONFIG: Final = "retrieval_config.json"
FIXTURE_TEXT_NORM_EPS: Final = 1e-12  # what a text encoder of the reference has where its configuration says nothing
_WITH_VIDEO: Final = ("encoder_", "conditional_", "rerank_", "training_forward")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureConfig:
    """What the weights do not tell. `side_px` and `top_k` are None where the arrays have to tell them."""

    side_px: int | None = None
    fusion_heads: int = FUSION_HEADS
    rerank_heads: int = RERANK_HEADS
    position_grid: tuple[int, int] = POSITION_GRID
    top_k: int | None = None
    text_norm_eps: float = FIXTURE_TEXT_NORM_EPS


def read_config(path: Path) -> FixtureConfig:
    """Read `retrieval_config.json`; what it leaves out, or the whole of it, is as published.

    Raises ImportRefusedError.
    """
    if not path.is_file():
        return FixtureConfig()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rerank = content.get("rerank", {})
        side, top_k = content.get("vision", {}).get("image_size"), rerank.get("top_k")
        rows, columns = content.get("pos_grid", POSITION_GRID)
        return FixtureConfig(
            side_px=None if side is None else int(side),
            fusion_heads=int(content.get("fusion", {}).get("heads", FUSION_HEADS)),
            rerank_heads=int(rerank.get("heads", RERANK_HEADS)),
            position_grid=(int(rows), int(columns)),
            top_k=None if top_k is None else int(top_k),
            text_norm_eps=float(content.get("text", {}).get("layer_norm_eps", FIXTURE_TEXT_NORM_EPS)),
        )
    except (ValueError, TypeError, AttributeError) as exc:
        raise refused(path.name, CheckpointError("bad-config", [path.name])) from exc


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file. Raises MalformedError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, BadZipFile) as exc:
        raise MalformedError("not a readable npz file of plain arrays") from exc


class FixtureFolder:
    """One folder; the checkpoint is loaded, and graphs are exported into `scratch`, when they are first needed."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self.path = path
        self.config = read_config(path / CONFIG)
        self._scratch = scratch

    @property
    def checkpoint(self) -> Path | None:
        """The retrieval checkpoint, where there is one."""
        return next((self.path / name for name in CHECKPOINTS if (self.path / name).is_file()), None)

    @property
    def state(self) -> Mapping[str, Tensor]:
        """The checkpoint's entries. Raises ImportRefusedError (unreadable), MalformedError without one."""
        return self._source.state

    @cached_property
    def model(self) -> RetrievalModel:
        """The retrieval model. Raises ImportRefusedError, and MalformedError without a checkpoint."""
        source, side_px = self._source, self.config.side_px or self._side_px_of_arrays()
        try:
            return load_retrieval(
                source.state,
                side_px=side_px,
                fusion_heads=self.config.fusion_heads,
                rerank_heads=self.config.rerank_heads,
                position_grid=self.config.position_grid,
            )
        except CheckpointError as exc:
            raise refused(source.name, exc) from exc

    def runner(self, path: str) -> Runner:
        """Path "torch" or "onnx" through the model."""
        return self._torch if path == "torch" else self._onnx

    @cached_property
    def _source(self) -> Source:
        if self.checkpoint is None:
            raise MalformedError(f"{CHECKPOINTS[0]} is missing in the folder")
        return read_source(self.checkpoint)

    @cached_property
    def _torch(self) -> Runner:
        return TorchRunner(self.model)

    @cached_property
    def _onnx(self) -> Runner:
        return OnnxRunner(self.model, self._scratch)

    def _side_px_of_arrays(self) -> int:
        for file in sorted(self.path.glob("*.npz")):
            if file.name.startswith(_WITH_VIDEO):
                video = read_arrays(file).get("video")
                if video is not None and video.ndim:
                    return int(video.shape[-1])
        raise MalformedError(f"neither {CONFIG} nor a file with images tells the side of the images")
