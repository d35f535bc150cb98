"""A graph's inputs, the machine and the wanted precision enter; what to build, and the name it is kept under, leaves.

Pure but for hashing the graph's files. An engine is bound to its weights, to the version of TensorRT, to the device and
to the shapes it was built for: each of them is in its key, so that no engine is ever used for another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from models.shared.runtimes.tensorrt_gpu.probe import Gpu

PLAN_SCHEMA: Final = 2
DYNAMIC: Final = -1
EXTERNAL_DATA_SUFFIX: Final = ".data"
_CHUNK_BYTES: Final = 1 << 22
_VOLUME_RANK: Final = 4  # (b, D, S, S)

Shape = tuple[int, ...]


class PlanError(ValueError):
    """A graph has a free axis that nothing is known about; `tensor` and `axis` name it."""

    def __init__(self, *, tensor: str, axis: int) -> None:
        self.tensor = tensor
        self.axis = axis
        super().__init__(f"axis {axis} of {tensor} is free, and its range is not known")


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisRange:
    """Sizes a free axis takes: the smallest, the one to be fastest at, the largest."""

    smallest: int
    usual: int
    largest: int

    def __post_init__(self) -> None:
        """Raise ValueError unless 1 <= smallest <= usual <= largest."""
        if not 1 <= self.smallest <= self.usual <= self.largest:
            raise ValueError(f"not a range: {self.smallest}, {self.usual}, {self.largest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Ranges of the free axes of a bundle's graphs: images, volumes, entities and pairs at once."""

    images: AxisRange = AxisRange(smallest=1, usual=1, largest=4)
    volumes: AxisRange = AxisRange(smallest=1, usual=1, largest=1)  # encoded one by one; memory is held for the largest
    entities: AxisRange = AxisRange(smallest=1, usual=75, largest=80)
    pairs: AxisRange = AxisRange(smallest=1, usual=50, largest=64)

    def of(self, tensor: str, axis: int, rank: int) -> AxisRange:
        """Range of one axis of an input of `rank` axes. Raises PlanError."""
        by_axis = {
            ("images", 0): self.volumes if rank == _VOLUME_RANK else self.images,
            ("tokens", 0): self.images,
            ("token_log_weight", 0): self.images,
            ("entity_rows", 0): self.entities,
            ("query", 0): self.pairs,
            ("candidate", 0): self.pairs,
        }
        try:
            return by_axis[tensor, axis]
        except KeyError:
            raise PlanError(tensor=tensor, axis=axis) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputProfile:
    """Shapes of one input that an engine is built for."""

    smallest: Shape
    usual: Shape
    largest: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What to build: profiles by input, half precision or not, workspace in bytes."""

    profiles: Mapping[str, InputProfile]
    half_precision: bool
    workspace_bytes: int


def plan_build(
    inputs: Mapping[str, Sequence[int]], ranges: Ranges, *, half_precision: bool, workspace_bytes: int
) -> BuildPlan:
    """Make the plan for a graph whose inputs have these shapes, -1 for a free axis. Raises PlanError."""
    profiles = {name: _profile(name, tuple(shape), ranges) for name, shape in sorted(inputs.items())}
    return BuildPlan(profiles=profiles, half_precision=half_precision, workspace_bytes=workspace_bytes)


def _profile(name: str, shape: Shape, ranges: Ranges) -> InputProfile:
    free = {axis: ranges.of(name, axis, len(shape)) for axis, size in enumerate(shape) if size == DYNAMIC}
    return InputProfile(
        smallest=tuple(free[axis].smallest if axis in free else size for axis, size in enumerate(shape)),
        usual=tuple(free[axis].usual if axis in free else size for axis, size in enumerate(shape)),
        largest=tuple(free[axis].largest if axis in free else size for axis, size in enumerate(shape)),
    )


def weights_digest(graph: Path) -> str:
    """SHA-256 over the graph's file and its external data."""
    hashed = hashlib.sha256()
    for path in (graph, graph.with_name(graph.name + EXTERNAL_DATA_SUFFIX)):
        if path.is_file():
            hashed.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    hashed.update(chunk)
    return hashed.hexdigest()


def engine_key(*, weights: str, plan: BuildPlan, gpu: Gpu, tensorrt_version: str) -> str:
    """Name of the engine in the cache: 32 hexadecimal digits that change with anything the engine depends on."""
    facts = {
        "schema": PLAN_SCHEMA,
        "weights": weights,
        "plan": asdict(plan),
        "device": gpu.name,
        "compute_capability": gpu.compute_capability,
        "tensorrt": tensorrt_version,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def timing_key(*, gpu: Gpu, tensorrt_version: str) -> str:
    """Name of the timing cache: shared by all graphs of one device and one version of TensorRT."""
    facts = [PLAN_SCHEMA, gpu.name, gpu.compute_capability, tensorrt_version]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
