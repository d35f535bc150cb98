"""A graph's path and a plan enter; the serialized engine, and the timings it was chosen by, leave.

`trt` is the tensorrt module, version 10, given from outside: importing it is safe only where a GPU was found.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.shared.runtimes.graph import GraphOpenError
from models.shared.runtimes.tensorrt_gpu.plan import BuildPlan, InputProfile, Ranges, plan_build

logger = logging.getLogger(__name__)

NAME = "tensorrt"
SINGLE_PRECISION = ("NORMALIZATION", "SOFTMAX", "REDUCE", "ELEMENTWISE", "UNARY", "ACTIVATION")
"""Kinds of layers that stay in float32 as they do in the mixed precision that the published model is run in.

Squares and sums of what was not normalised overflow in half precision: beyond 65504 there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A serialized engine and the timing cache after its build."""

    engine: bytes
    timings: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How engines are to be built: for which sizes, in which precision, with how much workspace."""

    ranges: Ranges = field(default_factory=Ranges)
    half_precision: bool = True
    workspace_bytes: int = 4 << 30


class EngineBuilder:
    """Parses one graph; tells its plan, from which the cache key follows; builds it if need be."""

    def __init__(self, trt: Any, graph: Path, wanted: Wanted) -> None:
        """Parse the graph. Raises GraphOpenError, PlanError."""
        self._trt = trt
        self._graph = graph
        # Kept for as long as the network: the parser and the builder own what it points to.
        self._logger = trt.Logger(trt.Logger.WARNING)
        self._builder = trt.Builder(self._logger)
        self._network = self._builder.create_network(0)
        self._parser = trt.OnnxParser(self._network, self._logger)
        if not self._parser.parse_from_file(str(graph)):  # by path: external data lie beside the file
            raise GraphOpenError(file=graph.name, runtime=NAME)
        inputs = (self._network.get_input(number) for number in range(self._network.num_inputs))
        self.plan: BuildPlan = plan_build(
            {tensor.name: tuple(tensor.shape) for tensor in inputs},
            wanted.ranges,
            half_precision=wanted.half_precision,
            workspace_bytes=wanted.workspace_bytes,
        )

    def build(self, timings: bytes) -> Built:
        """Build with an earlier timing cache, empty for none. Minutes at full size. Raises GraphOpenError."""
        trt, config = self._trt, self._builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, self.plan.workspace_bytes)
        if self.plan.half_precision:
            config.set_flag(trt.BuilderFlag.FP16)
            config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
            self._hold_single()
        config.progress_monitor = monitor_of(trt, self._graph.name)
        config.add_optimization_profile(self._profile())
        cache = _timing_cache(config, timings)
        logger.info("engine.building", extra={"graph": self._graph.name, "half_precision": self.plan.half_precision})
        engine = self._builder.build_serialized_network(self._network, config)
        if engine is None:
            raise GraphOpenError(file=self._graph.name, runtime=NAME)
        return Built(engine=bytes(engine), timings=bytes(cache.serialize()))

    def _hold_single(self) -> None:
        """Ask for float32 in the layers of SINGLE_PRECISION that compute with real numbers, not with shapes."""
        single, kinds = self._trt.float32, {getattr(self._trt.LayerType, kind) for kind in SINGLE_PRECISION}
        for layer in (self._network.get_layer(number) for number in range(self._network.num_layers)):
            outputs = range(layer.num_outputs)
            if layer.type in kinds and all(layer.get_output(number).dtype == single for number in outputs):
                layer.precision = single
                for number in outputs:
                    layer.set_output_type(number, single)

    def _profile(self) -> Any:
        profile = self._builder.create_optimization_profile()
        for name, shapes in self.plan.profiles.items():
            _set_shapes(profile, name, shapes)
        return profile


def _timing_cache(config: Any, timings: bytes) -> Any:
    """Give `config` the earlier timings; those that TensorRT will not have, of another driver say, are left aside."""
    for content in (timings, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            break
    return cache


def _set_shapes(profile: Any, name: str, shapes: InputProfile) -> None:
    profile.set_shape(name, min=shapes.smallest, opt=shapes.usual, max=shapes.largest)


def monitor_of(trt: Any, graph: str) -> Any:
    """Make a monitor that logs how far a build is. Its class derives from one of tensorrt's, so it is made late."""

    class Progress(trt.IProgressMonitor):  # type: ignore[misc]  # the base is known only where tensorrt is
        """Logs each phase and each tenth of its steps; never cancels."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            if parent_phase is None:
                logger.info("engine.phase", extra={"graph": graph, "phase": phase_name, "steps": num_steps})

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name, 0)
            if steps >= 10 and (step + 1) % (steps // 10) == 0:
                percent = round(100 * (step + 1) / steps)
                logger.info("engine.progress", extra={"graph": graph, "phase": phase_name, "percent": percent})
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Progress()
