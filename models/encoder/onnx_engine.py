"""The reference engine: the folder of a bundle enters, its `EncoderModel` on ONNX Runtime's CPU provider leaves."""

from __future__ import annotations

from pathlib import Path

from models.encoder.bundle import open_bundle
from models.encoder.model import BundleModel
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime


def load_model(folder: Path, *, intra_op_threads: int = 0) -> BundleModel:
    """Open and verify the bundle in `folder`. 0 threads = one per core. Raises BundleError."""
    return BundleModel(open_bundle(folder), OnnxRuntime(threads=intra_op_threads))
