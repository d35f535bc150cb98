"""The inputs and expected outputs that an imported bundle keeps: the same anywhere, and really compared."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from models.encoder.engine import FamilyInfo
from models.importing import selftest_data
from models.importing.selftest_data import Expected, compare, image, kept_rows, sides


def info(**changes: object) -> FamilyInfo:
    family = FamilyInfo(
        bundle_id="b",
        modality="3D-CT",
        router=0,
        dicom_modalities=("CT",),
        entities=(),
        input_depth=4,
        input_side_px=16,
        pad_value=-1.0,
        grid_side=4,
        token_width=8,
        embedding_width=8,
        rerank_top_k=3,
    )
    return dataclasses.replace(family, **changes)  # type: ignore[arg-type]


def test_inputs_are_the_same_on_every_machine() -> None:
    """Frozen: a bundle's expected outputs are worth nothing once its inputs change."""
    assert hashlib.sha256(image(info(), 7).tobytes()).hexdigest()[:16] == "448f3fdd385d5353"
    assert hashlib.sha256(sides(info(), 7).tobytes()).hexdigest()[:16] == "98ea8642bd55f47a"


def test_an_image_is_noise_below_a_band_of_padding() -> None:
    made = image(info(), 7)
    assert made.shape == (1, 4, 16, 16)
    assert made.dtype == np.float32
    assert (made[..., :2, :] == -1).all()
    noise = made[..., 2:, :]
    assert noise.min() >= 0
    assert noise.max() < 1
    assert noise.std() > 0.25
    assert not (made[0, 0] == made[0, 1]).all()
    assert image(info(input_depth=1, pad_value=0.0), 7).shape == (1, 16, 16)


def test_sides_fit_the_reranker() -> None:
    made = sides(info(), 7)
    assert made.shape == (4, 4, 8)
    assert abs(float(made.std()) - 1) < 0.2
    with pytest.raises(ValueError, match="no reranker"):
        sides(info(rerank_top_k=None), 7)


def test_kept_rows_are_spread_over_the_grid() -> None:
    assert kept_rows(576)[[0, -1]].tolist() == [0, 575]
    assert len(kept_rows(576)) == 32
    assert kept_rows(16).tolist() == list(range(16))


@pytest.mark.parametrize("with_rerank", [True, False])
def test_expected_outputs_are_read_as_they_were_written(tmp_path: Path, with_rerank: bool) -> None:
    written = Expected(
        seed=7,
        token_rows=kept_rows(16),
        tokens_sample=np.ones((16, 8), dtype=np.float32),
        entity_rows=np.array([3, 4]),
        embeddings=np.zeros((2, 8), dtype=np.float32),
        latents=np.zeros((2, 8), dtype=np.float32),
        logits=np.array([0.5, -0.5], dtype=np.float32),
        rerank_logits=np.array([1.0], dtype=np.float32) if with_rerank else None,
    )
    selftest_data.write_expected(tmp_path / "selftest" / "x.npz", written)
    read = selftest_data.read_expected(tmp_path / "selftest" / "x.npz")
    for field in dataclasses.fields(Expected):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))


def test_small_differences_pass_and_larger_ones_do_not() -> None:
    want = np.linspace(-1, 1, 64, dtype=np.float32).reshape(4, 16)
    assert compare("x", want, want).within()
    assert compare("x", want + np.float32(5e-5), want).within()
    assert not compare("x", want + np.float32(2e-4), want).within()
    assert not compare("x", np.roll(want, 1, axis=1), want).within()
    assert not compare("x", want[:2], want).within()
    assert not compare("x", want * np.float32("nan"), want).within()
