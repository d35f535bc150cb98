"""The full-size checkpoint of the benchmarks has the published layout, whatever container it is written to."""

import json
import math
from pathlib import Path

import numpy as np

from models.shared.checkpoints import infer_sizes
from tests.bench.fullsize import draw, write_checkpoint
from tests.bench.layout import SMALL, Start, entries
from tests.support.training import run_training_module

FIXTURE = Path(__file__).parents[2] / "fixtures" / "medreco_parity" / "retrieval.safetensors"


def test_the_published_layout_has_768_entries_and_the_published_number_of_values() -> None:
    shapes = {entry.key: entry.shape for entry in entries()}
    text = sum(math.prod(shape) for key, shape in shapes.items() if key.startswith("text_transformer."))
    assert len(shapes) == 768
    assert sum(map(math.prod, shapes.values())) == 327_745_062
    assert text == 109_486_464


def test_keys_shapes_and_types_are_those_of_a_real_checkpoint() -> None:
    reference = _header(FIXTURE)
    reference.pop("__metadata__", None)
    assert {entry.key for entry in entries(SMALL)} == set(reference)
    for entry in entries(SMALL):
        found = reference[entry.key]
        assert (list(entry.shape), "F64" if entry.double else "F32") == (found["shape"], found["dtype"])


def test_the_importer_infers_the_published_sizes() -> None:
    sizes = infer_sizes({entry.key: entry.shape for entry in entries()})
    assert (sizes.width, sizes.heads, sizes.head_width, sizes.expert_inner) == (512, 8, 32, 1365)
    assert (sizes.spatial_depth, sizes.temporal_depth, sizes.experts) == (8, 4, 5)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_checkpoint(tmp_path / f"{name}.safetensors", seed=seed, sizes=SMALL)
    first, again, other = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_a_file_without_text_leaves_out_the_text_encoder_alone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "whole.safetensors", sizes=SMALL)
    write_checkpoint(tmp_path / "lean.safetensors", sizes=SMALL, text=False)
    whole, lean = _header(tmp_path / "whole.safetensors"), _header(tmp_path / "lean.safetensors")
    assert {key for key in whole if not key.startswith("text_transformer.")} == set(lean)


def test_every_experts_weights_differ_and_norms_are_not_exactly_one() -> None:
    drawn = {entry.key: draw(entry, 0) for entry in entries(SMALL) if entry.start is not Start.SCALAR}
    up = [drawn[f"rank_module.layers.0.moe_ffn.experts.{expert}.0.weight"] for expert in range(5)]
    assert all(not np.array_equal(up[0], other) for other in up[1:])
    assert np.ptp(drawn["fusion_module.norm.weight"]) > 0.1


def test_both_containers_load_to_the_same_tensors(tmp_path: Path) -> None:
    done = run_training_module("tests.support.bench_containers", str(tmp_path))
    assert done.returncode == 0, done.stderr


def _header(path: Path) -> dict[str, dict[str, object]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, dict[str, object]] = json.loads(file.read(length))
    return header
