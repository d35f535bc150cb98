"""Settings of the encode stage."""

from dataclasses import dataclass

from operators.domain.errors import ConfigError

ENGINE_CHOICES = ("auto", "onnxruntime", "openvino", "tensorrt")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeConfig:
    """How images are read.

    Attributes
    ----------
    bundle
        Name of the folder of the model bundle among the installed bundles.
    engine
        What runs the model: `onnxruntime` (the reference), `openvino`, `tensorrt`, or `auto`, which takes TensorRT
        where there is a GPU and the reference elsewhere. An engine that answers otherwise than the reference does not
        serve.
    threads
        Processor threads the engine may use for one image; 0 takes one per core.
    batch_images
        Images that are encoded together at most (current and priors of one study); bounds the memory.
    max_frame_px
        Pixels of the largest image that is decoded; a larger one is refused as absurd.
    evidence_mass_share
        Share of the attention, in (0, 1], that the evidence region of an entity holds.
    """

    bundle: str = "interval-cxr-small"
    engine: str = "auto"
    threads: int = 0
    batch_images: int = 4
    max_frame_px: int = 64_000_000
    evidence_mass_share: float = 0.5

    def __post_init__(self) -> None:
        """Raise ConfigError for a value that cannot be meant."""
        if not self.bundle or {"/", "\\"} & set(self.bundle) or self.bundle in {".", ".."}:
            raise ConfigError("encode.bundle must be the name of an installed bundle, not a path")
        if self.engine not in ENGINE_CHOICES:
            raise ConfigError(f"encode.engine must be one of {', '.join(ENGINE_CHOICES)}")
        if self.threads < 0:
            raise ConfigError("encode.threads must be 0 or more")
        if self.batch_images < 1 or self.max_frame_px < 1:
            raise ConfigError("encode.batch_images and encode.max_frame_px must be 1 or more")
        if not 0 < self.evidence_mass_share <= 1:
            raise ConfigError("encode.evidence_mass_share must be above 0 and at most 1")
