"""The vision language model of the parity fixtures, written as a published folder: shards, index, configuration.

`python -m tests.support.vlm_folder [TARGET WEIGHTS TOWERS]` converts it, with that many of its vision graphs; without
arguments it makes the bundle in tests/fixtures/vlm anew. Needs the training requirements.
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.vlm.byte_alphabet import byte_alphabet
from models.vlm.checkpoint import open_checkpoint

FIXTURES = Path(__file__).parents[1] / "fixtures" / "medreco_parity"
BUNDLE = Path(__file__).parents[1] / "fixtures" / "vlm" / "bundle"
_PUBLISHED = {"vision.": "visual.ctvit.", "text.": "model.", "lm_head.weight": "lm_head.weight"}
_TYPES = {"F32": "<f4", "BF16": "<u2"}
# Ids 0 to 255 are the bytes; the merges make "at", "in", ... ; then come the special tokens of the fixtures.
_PAIRS = (
    "Ġ a,Ġ t,i n,h e,r e,o n,e r,Ġt he,a t,e s,o r,Ġ s,i s,a n,i t,e n,Ġ w,Ġ c,e d,o u,in g,Ġ p,a l,Ġ f,a r,Ġ o,a s,"
    "Ġ b,Ġ m,i on,l e,Ġ i,Ġo f,Ġa n,s t,Ġan d,r o,e l,t h,i c,Ġ d,Ġi n,Ġ n"
)
_MERGES = tuple(_PAIRS.split(","))
_SPECIAL = (
    "<|im_start|>",
    "<|box_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|endoftext|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def write_published(folder: Path, *, shards: int = 3) -> Path:
    """Write the fixtures' model as the library saves it, its tensors dealt to `shards` files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = open_checkpoint(FIXTURES / "vlm.safetensors").tensors
    named = {published_name(name): ("F32", tensor.read()) for name, tensor in found.items()}
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: named[name] for name in sorted(named)[number::shards]}
        write_safetensors(folder / file, part)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    write_papers(folder)
    return folder


def published_name(canonical: str) -> str:
    """Name of a tensor as the library writes it."""
    for prefix, published in _PUBLISHED.items():
        if canonical.startswith(prefix):
            return published + canonical.removeprefix(prefix)
    raise KeyError(canonical)


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
    """Write arrays with the type the format calls each: F32, or BF16 held as 16 bits."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (dtype, array) in tensors.items():
        stop = start + array.size * np.dtype(_TYPES[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, stop]}
        start = stop
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for dtype, array in tensors.values():
            file.write(np.ascontiguousarray(array, dtype=_TYPES[dtype]).data)


def write_papers(folder: Path) -> None:
    """Write the configuration and the tokeniser's files."""
    fixture = json.loads((FIXTURES / "vlm_config.json").read_text(encoding="utf-8"))
    config = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        **fixture["text"],
        "vision_config": fixture["vision"],
        "rope_scaling": {"type": "mrope", "mrope_section": fixture["mrope_section"]},
        "rope_theta": fixture["rope_theta"],
        "rms_norm_eps": fixture["rms_norm_eps"],
        "max_position_embeddings": 512,
        "image_token_id": fixture["tokens"]["img"],
        "vision_start_token_id": fixture["tokens"]["vs"],
        "vision_end_token_id": fixture["tokens"]["ve"],
        "eos_token_id": fixture["tokens"]["eos"],
    }
    stop = [fixture["tokens"]["eos"], fixture["tokens"]["pad"]]
    generation = {"eos_token_id": stop, "pad_token_id": fixture["tokens"]["pad"], "repetition_penalty": 1.05}
    papers = {"config.json": config, "generation_config.json": generation} | _tokenizer_papers()
    for name, content in papers.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(_MERGES) + "\n", encoding="utf-8")


def _tokenizer_papers() -> dict[str, Any]:
    byte_of = byte_alphabet()
    alphabet = sorted(byte_of, key=byte_of.__getitem__)
    vocabulary = {token: number for number, token in enumerate([*alphabet, *(m.replace(" ", "") for m in _MERGES)])}
    added = {
        str(len(vocabulary) + number): {"content": content, "special": True} for number, content in enumerate(_SPECIAL)
    }
    return {"vocab.json": vocabulary, "tokenizer_config.json": {"added_tokens_decoder": added}}


def main() -> int:
    """Convert the fixtures' model to the bundle that the tests without torch open."""
    from models.vlm.nets.convert import TOWERS, VlmImport, convert_vlm  # noqa: PLC0415  (needs torch)
    from models.vlm.nets.verify import verify_vlm  # noqa: PLC0415
    from models.vlm.nets.weights import WeightType  # noqa: PLC0415

    if not sys.argv[1:]:
        shutil.rmtree(BUNDLE, ignore_errors=True)
    target, weights, towers = sys.argv[1:] or (str(BUNDLE), "stored", str(len(TOWERS)))
    wanted = VlmImport(name="fixture-vlm", weights=WeightType(weights), towers=TOWERS[: int(towers)])
    with tempfile.TemporaryDirectory() as scratch:
        source = write_published(Path(scratch) / "published")
        report = convert_vlm(source, Path(target), wanted=wanted)
        difference = verify_vlm(source, Path(target))
    print(json.dumps({"bundle_sha256": report.bundle_sha256, **asdict(difference)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
