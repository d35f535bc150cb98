"""The configured bundle enters, an engine that has opened it leaves."""

from pathlib import Path

from models.encoder.bundle import BundleError
from models.encoder.engine import Encoder
from models.encoder.onnx_engine import load_encoder
from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode
from operators.encode.config import EncodeConfig


def open_encoder(config: EncodeConfig, bundles: Path) -> Encoder:
    """Verify and load the bundle that `config` names in the folder `bundles`.

    Raises ConfigError(BUNDLE_UNUSABLE) that says what is wrong with which file of it.
    """
    try:
        return load_encoder(bundles / config.bundle, intra_op_threads=config.threads)
    except (BundleError, OSError) as exc:
        why = f"{exc.code.value}: {exc.subject}" if isinstance(exc, BundleError) else type(exc).__name__
        what = f"The model bundle {config.bundle} cannot be used ({why})."
        raise ConfigError(what, ReasonCode.BUNDLE_UNUSABLE) from exc
