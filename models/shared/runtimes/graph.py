"""The seam to a runtime: the path of an ONNX graph enters `Runtime.open`, named arrays go through `Graph.run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FloatArray = NDArray[np.float32]


class Graph(Protocol):
    """A graph that a runtime has opened. Safe to call from several threads."""

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[FloatArray]:
        """Run on C-contiguous arrays and return the named outputs in order. Raises GraphRunError."""
        ...


class Runtime(Protocol):
    """Something that runs ONNX graphs on this machine."""

    @property
    def name(self) -> str:
        """What settings and documents call it, such as `onnxruntime`."""
        ...

    def open(self, path: Path) -> Graph:
        """Open the graph at `path`, its external data beside it. Raises GraphOpenError."""
        ...


class RuntimeUnavailableError(RuntimeError):
    """The runtime cannot be used on this machine; the text says why in one sentence."""


class GraphOpenError(RuntimeError):
    """The file is no graph that this runtime can run; `file` is its name."""

    def __init__(self, *, file: str, runtime: str) -> None:
        self.file = file
        self.runtime = runtime
        super().__init__(f"{runtime} cannot open {file}")


class GraphRunError(RuntimeError):
    """The runtime failed on valid input, or gave what is not a number; `kind` names the foreign error."""

    def __init__(self, *, runtime: str, kind: str) -> None:
        self.runtime = runtime
        self.kind = kind
        super().__init__(f"{runtime} failed on valid input ({kind})")


def all_finite(runtime: str, results: Sequence[FloatArray]) -> list[FloatArray]:
    """Return the results. Raises GraphRunError when one holds what is not a number."""
    if not all(np.isfinite(result).all() for result in results):
        raise GraphRunError(runtime=runtime, kind="not finite")
    return list(results)
