"""The graphs that serving runs, without torch: agreement with the reference, entities side by side, places as masks."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.encoder.selection import rerank_side, select_tokens
from tests.support.training import REPOSITORY, run_training_module

FIXTURES = Path(__file__).parents[2] / "fixtures" / "medreco_parity"
OUTPUTS = ["embeddings", "latents", "attention", "logits"]
TOLERANCE = 2e-5


def _session(name: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(FIXTURES / name, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def encoder() -> onnxruntime.InferenceSession:
    return _session("exported_cxr_encoder.onnx")


@pytest.fixture(scope="module")
def fusion() -> onnxruntime.InferenceSession:
    return _session("exported_cxr_fusion.onnx")


@pytest.fixture(scope="module")
def films() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "conditional_cxr.npz") as arrays:
        return dict(arrays)


def _tokens(encoder: onnxruntime.InferenceSession, films: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(encoder.run(["tokens"], {"images": films["video"][:, 0, 0, 0].astype(np.float32)})[0])


def _read(
    fusion: onnxruntime.InferenceSession, tokens: np.ndarray, rows: list[int], log_weight: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    weight = np.zeros(tokens.shape[:2], dtype=np.float32) if log_weight is None else log_weight
    inputs = {"tokens": tokens, "entity_rows": np.array(rows, dtype=np.int64), "token_log_weight": weight}
    return dict(zip(OUTPUTS, fusion.run(OUTPUTS, inputs), strict=True))


@pytest.fixture(scope="module")
def pairs() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "rerank_cxr.npz") as arrays:
        return dict(arrays)


def _close(got: np.ndarray, reference: np.ndarray) -> bool:
    return bool(np.abs(got.reshape(reference.shape) - reference).max() <= TOLERANCE * np.abs(reference).max())


def test_tokens_agree_with_reference(encoder: onnxruntime.InferenceSession, films: dict[str, np.ndarray]) -> None:
    assert _close(_tokens(encoder, films), films["image_tokens"])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("embeddings", "fused_latents"),
        ("latents", "condition_latents"),
        ("attention", "last_attn_map"),
        ("logits", "abnormal_logit"),
    ],
)
def test_readings_agree_with_reference(
    ours: str,
    theirs: str,
    encoder: onnxruntime.InferenceSession,
    fusion: onnxruntime.InferenceSession,
    films: dict[str, np.ndarray],
) -> None:
    readings = _read(fusion, _tokens(encoder, films), films["condition_index"].tolist())
    own = np.arange(len(films["condition_index"]))  # the reference gives each image its own condition
    assert _close(readings[ours][own, own], films[theirs])


def test_an_entity_reads_the_same_alone_and_among_others(
    encoder: onnxruntime.InferenceSession, fusion: onnxruntime.InferenceSession, films: dict[str, np.ndarray]
) -> None:
    tokens = _tokens(encoder, films)
    among, alone = _read(fusion, tokens, [5, 12, 35]), _read(fusion, tokens, [12])
    np.testing.assert_allclose(among["embeddings"][:, 1], alone["embeddings"][:, 0], atol=1e-6)


def test_a_place_is_read_as_if_nothing_else_were_there(
    encoder: onnxruntime.InferenceSession, fusion: onnxruntime.InferenceSession, films: dict[str, np.ndarray]
) -> None:
    tokens = _tokens(encoder, films)
    outside = np.arange(tokens.shape[1]) >= 6
    log_weight = np.where(outside, -1e4, 0).astype(np.float32)[None].repeat(len(tokens), axis=0)
    changed = tokens.copy()
    changed[:, outside] += 3
    placed, same = _read(fusion, tokens, [12], log_weight), _read(fusion, changed, [12], log_weight)
    np.testing.assert_allclose(placed["embeddings"], same["embeddings"], atol=1e-6)
    np.testing.assert_allclose(placed["attention"][..., outside], 0, atol=1e-7)
    assert np.abs(placed["embeddings"] - _read(fusion, tokens, [12])["embeddings"]).max() > 1e-3


def test_an_even_weight_on_all_tokens_changes_nothing(
    encoder: onnxruntime.InferenceSession, fusion: onnxruntime.InferenceSession, films: dict[str, np.ndarray]
) -> None:
    tokens = _tokens(encoder, films)
    even = _read(fusion, tokens, [12], np.full(tokens.shape[:2], -2.5, dtype=np.float32))
    np.testing.assert_allclose(even["embeddings"], _read(fusion, tokens, [12])["embeddings"], atol=1e-6)


def test_tokens_of_volumes_agree_with_reference() -> None:
    with np.load(FIXTURES / "conditional_ct.npz") as arrays:
        volumes, tokens = arrays["video"][:, 0, 0].astype(np.float32), arrays["image_tokens"]
    encoder = _session("exported_ct_encoder.onnx")
    assert _close(encoder.run(["tokens"], {"images": volumes})[0], tokens)
    assert _close(encoder.run(["tokens"], {"images": volumes[1:]})[0], tokens[1:])  # alone as in a batch


def test_pairs_agree_with_reference_in_both_orders(
    encoder: onnxruntime.InferenceSession, fusion: onnxruntime.InferenceSession, pairs: dict[str, np.ndarray]
) -> None:
    tokens = _tokens(encoder, pairs)
    readings = _read(fusion, tokens, pairs["condition_index"][:1].tolist())
    selected = select_tokens(tokens, readings["attention"], int(pairs["top_k"]))
    sides = rerank_side(readings["latents"], selected)[:, 0]
    query, candidates = np.repeat(sides[:1], len(sides) - 1, axis=0), sides[1:]
    rerank = _session("exported_cxr_rerank.onnx")
    assert _close(rerank.run(["logits"], {"query": query, "candidate": candidates})[0], pairs["rerank_logits"])
    swapped = rerank.run(["logits"], {"query": candidates, "candidate": query})[0]
    assert _close(swapped, pairs["rerank_logits_swapped"])
    one = rerank.run(["logits"], {"query": query[:1], "candidate": candidates[:1]})[0]
    assert _close(one, pairs["rerank_logits"][:1])


def test_weights_outside_a_graph_are_found_after_the_folder_was_moved(
    pairs: dict[str, np.ndarray], tmp_path: Path
) -> None:
    written, moved = tmp_path / "written", tmp_path / "moved"
    written.mkdir()
    done = run_training_module("tests.support.exported_graphs", str(written), "--outside")
    assert done.returncode == 0, done.stderr
    shutil.move(written, moved)
    assert {path.name for path in moved.iterdir()} == {"exported_cxr_rerank.onnx", "exported_cxr_rerank.onnx.data"}
    assert str(REPOSITORY).encode() not in (moved / "exported_cxr_rerank.onnx").read_bytes()
    side = np.random.default_rng(0).standard_normal((2, int(pairs["top_k"]) + 1, 64)).astype(np.float32)
    outside, inside = (
        onnxruntime.InferenceSession(folder / "exported_cxr_rerank.onnx", providers=["CPUExecutionProvider"])
        for folder in (moved, FIXTURES)
    )
    inputs = {"query": side, "candidate": side[::-1].copy()}
    np.testing.assert_allclose(outside.run(None, inputs)[0], inside.run(None, inputs)[0], atol=1e-6)
