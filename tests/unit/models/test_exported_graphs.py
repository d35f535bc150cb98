"""The graphs that serving runs, without torch: agreement with the reference, entities side by side, places as masks."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

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
