"""The bundle that ships: it verifies, is small, serves only what it was shown to know, and runs without torch."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from models.encoder.bundle import open_bundle
from models.encoder.engine import Encoder
from models.encoder.figures import MIN_POSITIVES
from models.encoder.onnx_engine import load_model
from tests.support.training import REPOSITORY

FOLDER = REPOSITORY / "models" / "bundles" / "interval-cxr-small"
LARGEST_BYTES = 30_000_000


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_model(FOLDER, intra_op_threads=1).family("2D-CXR")


def test_every_file_is_as_it_was_published() -> None:
    assert open_bundle(FOLDER).info.name == "interval-cxr-small"


def test_it_stays_within_its_size() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < LARGEST_BYTES


def test_it_serves_only_entities_shown_to_be_above_chance(encoder: Encoder) -> None:
    assert encoder.info.entities
    for entity in encoder.info.entities:
        assert entity.measured is not None
        assert entity.measured.auroc_lo > 0.5
        assert entity.measured.n_positive >= MIN_POSITIVES


def test_it_was_trained_on_open_films_only() -> None:
    manifest = open_bundle(FOLDER).manifest_path
    assert manifest is not None
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    assert {row["image"].split("/")[1] for row in rows} == {"nih"}
    assert {row["split"] for row in rows} == {"train"}


def test_the_card_tells_limits_and_attribution() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text()
    assert "Never clinically validated" in card
    assert "text-mined" in card
    assert "NIH Clinical Center" in (FOLDER / "NOTICE").read_text()


def test_an_image_is_read_as_promised(encoder: Encoder) -> None:
    info = encoder.info
    image = np.random.default_rng(2).random((1, info.input_side_px, info.input_side_px), dtype=np.float32)
    tokens = encoder.encode(image)
    readings = encoder.read(tokens, [entity.index for entity in info.entities])
    assert tokens.shape == (1, info.token_count, info.token_width)
    assert readings.embeddings.shape == (1, len(info.entities), info.embedding_width)
    np.testing.assert_allclose(np.linalg.norm(readings.embeddings, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(readings.attention.sum(axis=-1), 1, atol=1e-5)


def test_serving_imports_no_torch() -> None:
    code = "import sys; import models.encoder.onnx_engine, models.encoder.evidence; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=REPOSITORY).returncode == 0
