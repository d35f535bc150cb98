"""The folder of a bundle of kind "vlm" enters; `models.vlm.engine.VisionLanguageModel` without torch leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from models.shared.bundle_files import BundleError, BundleErrorCode
from models.shared.runtimes.graph import Graph, GraphOpenError, GraphRunError, Runtime
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.vlm.bundle import VlmBundle, open_vlm_bundle
from models.vlm.chat import Mark, chat_prompt
from models.vlm.decoding import Decoder, PromptLayout, TokenPrompt, decode
from models.vlm.engine import (
    Answer,
    FloatArray,
    GenerationOptions,
    ImageFeatures,
    ImageShapeError,
    Prompt,
    PromptTooLongError,
    StopReason,
    TextPiece,
    VlmFailureError,
    VlmInfo,
)
from models.vlm.onnx_decoder import RUNTIME_ERRORS, EmbeddingTable, OnnxDecoder, open_session
from models.vlm.tokenizer import ChatTokenizer, load_tokenizer


def load_vlm_engine(folder: Path, *, threads: int = 0, runtime: Runtime | None = None) -> VlmEngine:
    """Open and verify the bundle in `folder`. 0 threads = one per core.

    `runtime` runs the vision graphs, ONNX Runtime if not given; the decoder runs in ONNX Runtime. Raises BundleError.
    """
    bundle = open_vlm_bundle(folder)
    runtime = runtime or OnnxRuntime(threads=threads)
    try:
        vision = {modality: runtime.open(path) for modality, path in bundle.vision_paths.items()}
        session = open_session(bundle.decoder_path, intra_op_threads=threads, keep_narrow=bundle.is_narrow)
    except GraphOpenError as exc:
        raise BundleError(BundleErrorCode.BAD_GRAPH, exc.file) from exc
    except RUNTIME_ERRORS as exc:
        raise BundleError(BundleErrorCode.BAD_GRAPH, bundle.decoder_path.name) from exc
    try:
        table = EmbeddingTable(bundle.embedding.path, dtype=bundle.embedding.dtype, shape=bundle.embedding.shape)
        tokenizer = load_tokenizer(bundle.tokenizer_folder)
    except (KeyError, ValueError) as exc:
        raise BundleError(BundleErrorCode.BAD_METADATA, str(exc)) from exc
    return VlmEngine(bundle, vision=vision, decoder=OnnxDecoder(session, table), tokenizer=tokenizer)


class VlmEngine:
    """Vision graphs, decoder and tokeniser of one bundle. Safe to call from several threads."""

    def __init__(
        self, bundle: VlmBundle, *, vision: dict[str, Graph], decoder: Decoder, tokenizer: ChatTokenizer
    ) -> None:
        """Check that tokeniser and model agree on the marks of an image. Raises BundleError."""
        marks = (tokenizer.mark(Mark.VISION_START), tokenizer.mark(Mark.VISION_END))
        if marks != (bundle.ids.vision_start, bundle.ids.vision_end):
            raise BundleError(BundleErrorCode.BAD_METADATA, "the tokeniser's ids are not those of the model")
        self._info = bundle.info
        self._vision = vision
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._layout = PromptLayout(
            image_token=bundle.ids.image, pad_token=bundle.ids.pad, grid_side=bundle.info.grid_side
        )

    @property
    def info(self) -> VlmInfo:
        """What the opened bundle is."""
        return self._info

    def look(self, images: Sequence[FloatArray], modality: str) -> ImageFeatures:
        """Encode images of one modality, one at a time so that memory does not grow with their number.

        Raises ModalityNotServedError, ImageShapeError, VlmFailureError.
        """
        family = self._info.family(modality)
        side = self._info.input_side_px
        expected = (side, side) if family.depth == 1 else (family.depth, side, side)
        for number, image in enumerate(images):
            _check_image(image, number, expected)
        features = np.zeros((len(images), self._info.grid_side**2, self._info.feature_width), dtype=np.float32)
        for number, image in enumerate(images):
            features[number] = self._encode(modality, image)
        return ImageFeatures(modality=modality, features=features)

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions) -> list[Answer]:
        """Answer prompts together. Raises PromptTooLongError, VlmFailureError."""
        texts: list[list[str]] = [[] for _ in prompts]
        tokens: list[list[int]] = [[] for _ in prompts]
        stops: dict[int, StopReason] = {}
        for piece in self.stream(prompts, options):
            texts[piece.row].append(piece.text)
            tokens[piece.row].extend(piece.token_ids)
            if piece.stop is not None:
                stops[piece.row] = piece.stop
        return [
            Answer(text="".join(texts[row]), token_ids=tuple(tokens[row]), stop=stops[row])
            for row in range(len(prompts))
        ]

    def stream(self, prompts: Sequence[Prompt], options: GenerationOptions) -> Iterator[TextPiece]:
        """As `generate`, piece by piece; every token gives a piece, which may hold no text yet."""
        prepared = self._prepare(prompts, options)
        streams = [self._tokenizer.stream() for _ in prompts]
        for new in decode(self._decoder, self._layout, prepared, options, frozenset(self._info.stop_ids)):
            said = () if new.stop is StopReason.ENDED else (new.token_id,)
            text = "".join(streams[new.row].push(token) for token in said)
            if new.stop is not None:
                text += streams[new.row].finish()
            yield TextPiece(row=new.row, text=text, token_ids=said, stop=new.stop)

    def _prepare(self, prompts: Sequence[Prompt], options: GenerationOptions) -> list[TokenPrompt]:
        # One array per set of images, so that prompts about the same images are seen to share them.
        flat: dict[int, FloatArray] = {id(None): np.zeros((0, self._info.feature_width), dtype=np.float32)}
        prepared = []
        for row, prompt in enumerate(prompts):
            count = 0 if prompt.images is None else len(prompt.images.features)
            parts = chat_prompt(prompt.question, image_count=count, system=prompt.system)
            ids = self._tokenizer.encode(
                parts, image_token=self._layout.image_token, image_tokens=self._info.grid_side**2
            )
            needed = len(ids) + options.max_new_tokens
            if needed > self._info.max_tokens:
                raise PromptTooLongError(row=row, token_count=needed, max_tokens=self._info.max_tokens)
            if prompt.images is not None:
                flat.setdefault(id(prompt.images), prompt.images.features.reshape(-1, self._info.feature_width))
            prepared.append(TokenPrompt(token_ids=ids, features=flat[id(prompt.images)]))
        return prepared

    def _encode(self, modality: str, image: FloatArray) -> FloatArray:
        try:
            features = self._vision[modality].run(["features"], {"images": np.ascontiguousarray(image)[None]})[0]
        except GraphRunError as exc:
            raise VlmFailureError("the vision graph failed on valid input") from exc
        return features.reshape(features.shape[1:])


def _check_image(image: FloatArray, number: int, shape: tuple[int, ...]) -> None:
    expected = " x ".join(map(str, shape)) + " float32"
    if image.shape != shape or image.dtype != np.float32:
        got = " x ".join(map(str, image.shape)) + f" {image.dtype}"
        raise ImageShapeError(image=number, expected=expected, got=got)
    if not np.isfinite(image).all():
        raise ImageShapeError(image=number, expected=f"{expected}, finite", got="infinite, or NaN")
