"""Settings of the encode stage."""

from dataclasses import dataclass

from operators.domain.errors import ConfigError

LONGEST_WAIT_MS = 1000.0
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
        Images that are encoded together at most, of one study or of several; bounds the memory. Volumes are always
        encoded one by one.
    batch_wait_ms
        Longest time that an image waits for those of other studies, so that they are encoded together. Studies meet
        that wait while another is encoded: with `work.concurrency` of 3 or more. Meant for GPUs: on two processor cores
        four films together took 0.208 s and one after another 0.222 s.
    max_frame_px
        Pixels of the largest image that is decoded; a larger one is refused as absurd.
    evidence_mass_share
        Share of the attention, in (0, 1], that the evidence region of an entity holds.
    """

    bundle: str = "interval-cxr-small"
    engine: str = "auto"
    threads: int = 0
    batch_images: int = 4
    batch_wait_ms: float = 5.0
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
        if not 0 <= self.batch_wait_ms <= LONGEST_WAIT_MS:
            raise ConfigError(f"encode.batch_wait_ms must be from 0 to {LONGEST_WAIT_MS:g}")
        if not 0 < self.evidence_mass_share <= 1:
            raise ConfigError("encode.evidence_mass_share must be above 0 and at most 1")
