"""The ONNX engine behind the `Encoder` seam."""

from pathlib import Path

import numpy as np
import pytest

from models.encoder.bundle import ENCODER_FILE
from models.encoder.engine import Encoder, EntityNotServedError, InputShapeError, RerankUnavailableError
from models.encoder.onnx_engine import load_model
from models.shared.bundle_files import BundleError, BundleErrorCode, write_sums
from tests.support.bundles import entity_row, write_bundle


def films_of(folder: Path) -> Encoder:
    return load_model(folder, intra_op_threads=1).family("2D-CXR")


IMAGES = np.random.default_rng(0).random((3, 80, 80), dtype=np.float32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return films_of(write_bundle(tmp_path_factory.mktemp("bundle")))


def test_readings_have_the_promised_shapes_and_ranges(encoder: Encoder) -> None:
    readings = encoder.read(encoder.encode(IMAGES), [35, 12])
    assert readings.embeddings.shape == readings.latents.shape == (3, 2, 64)
    assert (readings.attention.shape, readings.presence_prob.shape) == ((3, 2, 16), (3, 2))
    np.testing.assert_allclose(np.linalg.norm(readings.embeddings, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(readings.attention.sum(axis=-1), 1, atol=1e-5)
    assert readings.presence_prob.min() >= 0
    assert readings.presence_prob.max() <= 1


def test_an_image_reads_the_same_alone_and_in_a_batch(encoder: Encoder) -> None:
    together = encoder.read(encoder.encode(IMAGES), [12])
    alone = encoder.read(encoder.encode(IMAGES[1:2]), [12])
    np.testing.assert_allclose(together.embeddings[1], alone.embeddings[0], atol=1e-5)
    np.testing.assert_allclose(together.presence_prob[1], alone.presence_prob[0], atol=1e-5)


def test_probability_is_the_entitys_own_calibration_of_its_logit(tmp_path: Path, encoder: Encoder) -> None:
    flat = entity_row(12, calibration={"slope": 0.0, "intercept": 1.0})
    calibrated = films_of(write_bundle(tmp_path, flat, entity_row(35)))
    tokens = calibrated.encode(IMAGES)
    probability = calibrated.read(tokens, [12, 35]).presence_prob
    np.testing.assert_allclose(probability[:, 0], 1 / (1 + np.exp(-1)), rtol=1e-6)
    np.testing.assert_allclose(probability[:, 1], encoder.read(tokens, [35]).presence_prob[:, 0], rtol=1e-5)


def test_a_huge_calibrated_logit_does_not_overflow(tmp_path: Path) -> None:
    steep = entity_row(12, calibration={"slope": 1e6, "intercept": -1e6})
    encoder = films_of(write_bundle(tmp_path, steep))
    assert np.isfinite(encoder.read(encoder.encode(IMAGES), [12]).presence_prob).all()


def test_a_place_changes_what_is_read(encoder: Encoder) -> None:
    tokens = encoder.encode(IMAGES)
    weight = np.where(np.arange(16) < 4, 0, -1e4).astype(np.float32)[None].repeat(3, axis=0)
    placed = encoder.read(tokens, [12], weight)
    np.testing.assert_allclose(placed.attention[..., :4].sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(
        encoder.read(tokens, [12]).embeddings, encoder.read(tokens, [12], np.zeros_like(weight)).embeddings
    )


def test_an_entity_that_is_not_served_is_refused(encoder: Encoder) -> None:
    with pytest.raises(EntityNotServedError) as caught:
        encoder.read(encoder.encode(IMAGES), [12, 9])
    assert caught.value.entity_index == 9


@pytest.mark.parametrize(
    "images",
    [
        IMAGES[:, :79],
        IMAGES[0],
        IMAGES.astype(np.float64),
        IMAGES * 255,
        np.full_like(IMAGES, np.nan),
    ],
    ids=["wrong side", "no batch axis", "float64", "0 to 255", "NaN"],
)
def test_images_of_another_make_are_refused(images: np.ndarray, encoder: Encoder) -> None:
    with pytest.raises(InputShapeError) as caught:
        encoder.encode(images)
    assert caught.value.argument == "images"


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_weights_that_are_not_finite_are_refused(value: float, encoder: Encoder) -> None:
    tokens = encoder.encode(IMAGES)
    with pytest.raises(InputShapeError) as caught:
        encoder.read(tokens, [12], np.full((3, 16), value, dtype=np.float32))
    assert caught.value.argument == "token_log_weight"


def test_tokens_of_another_grid_are_refused(encoder: Encoder) -> None:
    with pytest.raises(InputShapeError, match="tokens"):
        encoder.read(encoder.encode(IMAGES)[:, :9], [12])


def test_a_file_that_is_no_graph_is_refused_as_such(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    (tmp_path / ENCODER_FILE).write_bytes(b"no graph")
    write_sums(tmp_path)
    with pytest.raises(BundleError) as caught:
        films_of(tmp_path)
    assert caught.value.code is BundleErrorCode.BAD_GRAPH


def test_a_family_without_a_reranker_says_so(encoder: Encoder) -> None:
    with pytest.raises(RerankUnavailableError, match="2D-CXR"):
        encoder.rerank(np.zeros((7, 64), dtype=np.float32), np.zeros((1, 7, 64), dtype=np.float32))
