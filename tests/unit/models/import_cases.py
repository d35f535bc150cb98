"""Files that an import must refuse: made here with torch, each tried, what was said printed as JSON.

python -m tests.unit.models.import_cases FOLDER
"""

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.importing.convert.experts import expert_facts
from models.importing.convert.reading import read_source
from models.importing.convert.retrieval import load_checked
from models.importing.refusals import ImportRefusedError
from models.importing.request import ImportRequest, from_json
from tests.support.checkpoints import REFERENCE, SIDE_PX, TOP_K, read_checkpoint, write_checkpoint, write_parts

STATE = read_checkpoint()
NEEDED = "fusion_module.layers.1.norm2.weight"
PLAIN = {"name": "x", "modalities": ["2D-CXR"], "side_px": SIDE_PX, "top_k": TOP_K, "imported_on": "2026-06-11"}


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def tensors(state: dict[str, Any] = STATE) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(np.array(value)) for key, value in state.items()}


def without(*prefixes: str) -> dict[str, Any]:
    return {key: value for key, value in STATE.items() if not key.startswith(prefixes)}


def half(path: Path, source: Path) -> Path:
    raw = source.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    return path


def resnet() -> dict[str, torch.Tensor]:
    return {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(1000, 512)}


def written(path: Path, value: Any, *, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def three_experts() -> dict[str, Any]:
    return {key: value for key, value in STATE.items() if ".experts.3." not in key and ".experts.4." not in key}


def good(folder: Path) -> dict[str, Path]:
    """Every form that a whole checkpoint may come in."""
    with_prefix = {f"module.{key}": value for key, value in tensors().items()}
    inside = folder / "inside"
    inside.mkdir()
    return {
        "safetensors": REFERENCE,
        "parts": write_parts(folder / "parts", STATE),
        "model-optim-step": written(folder / "a.pt", {"model": tensors(), "optim": {"state": {}}, "step": 3}),
        "model": written(folder / "b.pth", {"model": with_prefix}),
        "bare": written(folder / "c.bin", tensors()),
        "old-format": written(folder / "d.ckpt", {"model": tensors()}, zipped=False),
        "folder": written(inside / "weights.pt", tensors()).parent,
        "without-reranker": write_checkpoint(folder / "e.safetensors", without("rank_module.")),
        "unknown": write_checkpoint(folder / "f.safetensors", STATE | {"surprise.weight": np.zeros(3, np.float32)}),
    }


def bad(folder: Path) -> dict[str, Path]:
    """What must be refused."""
    needed = STATE[NEEDED]
    evil = {"model": tensors(), "extra": Evil(folder / "pwned")}
    paths = {
        "code": written(folder / "evil.pt", evil),
        "code-old-format": written(folder / "evil-old.pt", evil, zipped=False),
        "truncated-torch": half(folder / "half.pt", written(folder / "whole.pt", tensors())),
        "truncated-old-format": half(folder / "half-old.pt", written(folder / "old.pt", tensors(), zipped=False)),
        "truncated-safetensors": half(folder / "half.safetensors", REFERENCE),
        "other-model": written(folder / "resnet.pt", resnet()),
        "other-model-safetensors": write_checkpoint(folder / "r.safetensors", {"fc": np.zeros((2, 2), np.float32)}),
        "complex": written(folder / "complex.pt", tensors() | {NEEDED: torch.zeros(64, dtype=torch.complex64)}),
        "sparse": written(folder / "sparse.pt", tensors() | {NEEDED: torch.zeros(64).to_sparse()}),
        "list": written(folder / "list.pt", [torch.zeros(1)]),
        "no-tensors": written(folder / "numbers.pt", {"model": {"a": 1}}),
        "missing-key": write_checkpoint(folder / "m.safetensors", without(NEEDED)),
        "missing-part-of-reranker": write_checkpoint(folder / "p.safetensors", without("rank_module.sep_token")),
        "wrong-shape": write_checkpoint(folder / "s.safetensors", STATE | {NEEDED: needed[:-1]}),
        "nan": write_checkpoint(folder / "n.safetensors", STATE | {NEEDED: needed * np.float32("nan")}),
        "infinite": write_checkpoint(folder / "i.safetensors", STATE | {NEEDED: needed * np.float32("inf")}),
        "wrong-type": write_checkpoint(folder / "t.safetensors", STATE | {NEEDED: needed.astype(np.int64)}),
        "missing-expert": write_checkpoint(folder / "x.safetensors", three_experts()),
        "missing-part": write_parts(folder / "lost", STATE),
        "bad-index": write_parts(folder / "index", STATE),
        "two-files": write_parts(folder / "two", STATE, count=2),
        "empty-folder": folder / "empty",
        "nothing": folder / "nowhere.pt",
    }
    for protocol in (0, 2, 4):
        paths[f"plain-pickle-{protocol}"] = folder / f"plain-{protocol}.pkl"
        paths[f"plain-pickle-{protocol}"].write_bytes(pickle.dumps(Evil(folder / "pwned"), protocol=protocol))
    paths["empty-folder"].mkdir()
    (paths["missing-part"] / "model-00002-of-00003.safetensors").unlink()
    (paths["bad-index"] / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}')
    (paths["two-files"] / "model.safetensors.index.json").unlink()
    paths["image"] = folder / "film.png"
    paths["image"].write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    paths["empty"] = folder / "empty.pt"
    paths["empty"].touch()
    return paths


def requests() -> dict[str, dict[str, Any]]:
    """Choices that the whole checkpoint does not allow."""
    return {
        "odd-side": PLAIN | {"side_px": 90},
        "too-large-side": PLAIN | {"side_px": 20 * 25},
        "too-many-tokens": PLAIN | {"top_k": 17},
        "odd-depth": PLAIN | {"modalities": ["3D-CT"], "depths": {"3D-CT": 35}},
    }


def expert(*, trained: bool, seed: int) -> dict[str, torch.Tensor]:
    """One expert of a normed bank: as Xavier draws it and shrunk by weight decay, or moved by training."""
    random = torch.Generator().manual_seed(seed)
    up = (torch.rand(160, 64, generator=random) * 2 - 1) * 0.13
    down = (torch.rand(64, 80, generator=random) * 2 - 1) * 0.11
    if trained:
        up += torch.randn(160, 64, generator=random) * 0.02
        down += torch.randn(64, 80, generator=random) * 0.02
    lead = torch.full((64,), 1.01 if trained else 1.0)
    return {"0.weight": lead, "0.bias": torch.zeros(64), "1.weight": up, "4.weight": down}


def experts() -> list[dict[str, Any]]:
    """Two layers: 0 trained, 1 never, 2 in one layer, 3 a copy of 0, 4 drawn but its norm moved."""
    state: dict[str, torch.Tensor] = {}
    for layer in range(2):
        bank = {
            0: expert(trained=True, seed=layer),
            1: expert(trained=False, seed=10 + layer),
            2: expert(trained=layer == 0, seed=20 + layer),
            3: expert(trained=True, seed=layer),
            4: expert(trained=False, seed=40 + layer) | {"0.weight": torch.full((64,), 0.9)},
        }
        for number, weights in bank.items():
            state |= {f"layers.{layer}.3.experts.{number}.{name}": value for name, value in weights.items()}
    return [{"expert": facts.expert, "verdict": facts.verdict, "doubt": facts.doubt} for facts in expert_facts(state)]


def attempt(path: Path, request: ImportRequest) -> dict[str, Any]:
    try:
        source = read_source(path)
        model, unknown = load_checked(source, request)
    except ImportRefusedError as exc:
        return {"code": exc.code, "sentence": exc.sentence}
    return {"code": "", "used": len(model.keys.used), "unknown": list(unknown), "sha256": source.sha256}


def main(folder: Path) -> None:
    plain = from_json(json.dumps(PLAIN))
    every = from_json(json.dumps(PLAIN | {"modalities": ["2D-CXR", "3D-Brain-MRI", "2D-Ultrasound"]}))
    good_folder = folder / "good"
    good_folder.mkdir()
    told: dict[str, Any] = {name: attempt(path, plain) for name, path in good(good_folder).items()}
    told |= {name: attempt(path, every if name == "missing-expert" else plain) for name, path in bad(folder).items()}
    told |= {name: attempt(REFERENCE, from_json(json.dumps(choice))) for name, choice in requests().items()}
    told["experts"] = experts()
    told["pwned"] = (folder / "pwned").exists()
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
