"""Settings enter; the selected bundle in an engine that may serve on this machine leaves.

An engine other than the reference serves only after it has answered the self-test's questions as the reference does,
for each family of the bundle. What it answered is kept beside the node's state, under everything the answer depends on,
so that the comparison is made once and not at every start.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app.bundles import bundle_folder
from app.settings import SOFTWARE_VERSION, Settings
from models.encoder.batching import BatchingModel
from models.encoder.bundle import Bundle, open_bundle
from models.encoder.engine import EncoderModel, EngineError
from models.encoder.engines import REFERENCE, open_runtime
from models.encoder.model import BundleModel, FamilyEncoder
from models.encoder.selftest import LIMITS, Agreement, Precision, agreements, ask, question
from models.importing.selftest_data import MAX_RELATIVE_ERROR, deviations, file_name, read_expected
from models.shared.bundle_files import BundleError
from models.shared.runtimes.graph import Runtime, RuntimeUnavailableError
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.shared.runtimes.tensorrt_gpu.runtime import TensorRtRuntime
from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

AUTOMATIC = "auto"
_GPU_ENGINE = "tensorrt"
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt-cu13"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One quantity of one family, by an engine against the reference."""

    engine: str
    family: str
    agreement: Agreement

    def as_row(self) -> dict[str, object]:
        """As the result line has it."""
        return {
            "engine": self.engine,
            "family": self.family,
            "quantity": self.agreement.quantity,
            "value": self.agreement.value,
            "limit": self.agreement.limit,
            "status": "pass" if self.agreement.ok else "fail",
        }


def model_of(settings: Settings) -> EncoderModel:
    """Return the selected bundle in the engine that the settings name, or in the best one of this machine.

    Raises ConfigError: BUNDLE_UNUSABLE for the bundle; ENGINE_DISAGREES or PREREQUISITE_MISSING for an engine that was
    named and cannot serve. Where none was named, the reference serves instead, and the log says why.
    """
    bundle = selected_bundle(settings)
    runtime = _runtime(settings)
    if runtime.name != REFERENCE and not _agrees(bundle, runtime, settings):
        if settings.encode.engine != AUTOMATIC:
            sentence = f"encode.engine {runtime.name}: it does not answer as the reference does on this machine."
            raise ConfigError(sentence, ReasonCode.ENGINE_DISAGREES)
        logger.error("engine.refused", extra={"engine": runtime.name, "serving": REFERENCE})
        runtime = _reference(settings)
    batch_images, wait_s = settings.encode.batch_images, settings.encode.batch_wait_ms / 1000
    model = BatchingModel(BundleModel(bundle, runtime), batch_images=batch_images, wait_s=wait_s)
    families = [family.modality for family in model.info.families]
    opened = {"bundle": model.info.bundle_id, "families": families, "engine": runtime.name}
    logger.info("bundle.opened", extra=opened)
    return model


def selected_bundle(settings: Settings) -> Bundle:
    """Open and verify the bundle that the settings name. Raises ConfigError(BUNDLE_UNUSABLE)."""
    try:
        return open_bundle(bundle_folder(settings.encode.bundle, settings.node.state_dir))
    except (BundleError, ConfigError) as exc:
        sentence = f"encode.bundle {settings.encode.bundle}: {exc}"
        raise ConfigError(sentence, ReasonCode.BUNDLE_UNUSABLE) from exc


def compare_engines(
    bundle: Bundle, reference: Runtime, other: Runtime, done: Callable[[str], None] = lambda _: None
) -> Iterator[Compared]:
    """Put the self-test's question for each family to both; `done` hears of each family.

    Raises BundleError, EngineError.
    """
    limits = LIMITS[precision_of(other)]
    for family in bundle.families:
        asked = question(family.info)
        expected = ask(FamilyEncoder(family, reference), asked)
        given = ask(FamilyEncoder(family, other), asked, sides=expected.sides)
        for agreement in agreements(expected, given, limits):
            yield Compared(engine=other.name, family=family.info.modality, agreement=agreement)
        done(family.info.modality)


def compare_with_checkpoint(bundle: Bundle, runtime: Runtime) -> Iterator[Compared]:
    """Compare an engine with what the import kept of the checkpoint itself; families that keep nothing give nothing.

    Raises BundleError, EngineError.
    """
    for family in bundle.families:
        path = bundle.folder / file_name(family.info.modality.lower())
        if not path.is_file():
            continue
        for deviation in deviations(FamilyEncoder(family, runtime), read_expected(path)):
            agreement = Agreement(
                quantity=f"{deviation.output}_from_checkpoint",
                value=deviation.relative_error,
                limit=MAX_RELATIVE_ERROR,
                ok=deviation.within(),
            )
            yield Compared(engine=runtime.name, family=family.info.modality, agreement=agreement)


def precision_of(runtime: Runtime) -> Precision:
    """In what arithmetic a runtime computes."""
    return Precision.HALF if runtime.name == _GPU_ENGINE else Precision.FULL


def open_engine(name: str, settings: Settings) -> Runtime:
    """Open the engine called `name`. Raises RuntimeUnavailableError."""
    wanted = settings.encode
    folder = _engine_folder(settings)
    return open_runtime(name, threads=wanted.threads, engine_folder=folder, batch_images=wanted.batch_images)


def remember(bundle: Bundle, runtime: Runtime, rows: list[Compared], settings: Settings) -> None:
    """Keep what an engine answered, so that a start need not ask again. Raises OSError."""
    path = _answer_path(bundle, runtime, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"ok": all(row.agreement.ok for row in rows), "rows": [row.as_row() for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _runtime(settings: Settings) -> Runtime:
    wanted = settings.encode.engine
    if wanted == AUTOMATIC:
        try:
            return open_engine(_GPU_ENGINE, settings)
        except RuntimeUnavailableError as exc:
            logger.info("engine.no_gpu", extra={"why": str(exc)})
            return _reference(settings)
    try:
        return open_engine(wanted, settings)
    except RuntimeUnavailableError as exc:
        raise ConfigError(f"encode.engine {wanted}: {exc}.", ReasonCode.PREREQUISITE_MISSING) from exc


def _reference(settings: Settings) -> Runtime:
    return OnnxRuntime(threads=settings.encode.threads)


def _agrees(bundle: Bundle, runtime: Runtime, settings: Settings) -> bool:
    """Whether the engine answers as the reference does: as remembered, else asked now."""
    try:
        remembered = json.loads(_answer_path(bundle, runtime, settings).read_text(encoding="utf-8"))
        return bool(remembered["ok"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    logger.info("engine.comparing", extra={"engine": runtime.name, "bundle": bundle.info.bundle_id})
    try:
        rows = list(compare_engines(bundle, _reference(settings), runtime))
    except (BundleError, EngineError) as exc:
        logger.warning("engine.failed", extra={"engine": runtime.name, "kind": type(exc).__name__})
        return False
    remember(bundle, runtime, rows, settings)
    return all(row.agreement.ok for row in rows)


def _engine_folder(settings: Settings) -> Path:
    return settings.node.state_dir / "engines"


def _answer_path(bundle: Bundle, runtime: Runtime, settings: Settings) -> Path:
    facts = [bundle.info.bundle_sha256, runtime.name, SOFTWARE_VERSION]
    facts += [_version_of(_PACKAGES[name]) for name in (REFERENCE, runtime.name)]
    if isinstance(runtime, TensorRtRuntime):
        facts += [runtime.gpu.name, runtime.gpu.compute_capability, str(runtime.gpu.driver_version)]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return _engine_folder(settings) / f"{runtime.name}-{digest}.json"


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
