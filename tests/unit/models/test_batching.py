"""Encoding together with other callers: the same answers, fewer calls, and one bad call spoils nobody else's."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from models.encoder.batching import BatchingEncoder, BatchingModel
from models.encoder.engine import EngineFailureError, FloatArray, InputShapeError
from models.encoder.onnx_engine import load_model
from tests.support.encoders import MeanEncoder, MeanModel
from tests.support.tiny import TINY

LONG_S = 30.0


class Refusing(MeanEncoder):
    """Fails on every call that holds an image that is all white."""

    def encode(self, images: FloatArray) -> FloatArray:
        tokens = super().encode(images)
        if (images.min(axis=(1, 2)) == 1).any():
            raise EngineFailureError("white")
        return tokens


def grey(value: float, count: int = 1) -> FloatArray:
    return np.full((count, 16, 16), value, dtype=np.float32)


def together(encoder: BatchingEncoder, images: Sequence[FloatArray]) -> list[FloatArray | Exception]:
    """Encode from as many threads, all inside at once; return what each got."""
    barrier = threading.Barrier(len(images))

    def one(given: FloatArray) -> FloatArray | Exception:
        barrier.wait()
        try:
            return encoder.encode(given)
        except EngineFailureError as error:
            return error

    with ThreadPoolExecutor(len(images)) as threads:
        return list(threads.map(one, images))


def test_images_of_several_callers_are_encoded_in_one_call_and_each_gets_its_own() -> None:
    inner = MeanEncoder()
    encoder = BatchingEncoder(inner, batch_images=4, wait_s=LONG_S)
    values = (0.1, 0.2, 0.3, 0.4)
    for value, tokens in zip(values, together(encoder, [grey(v) for v in values]), strict=True):
        assert isinstance(tokens, np.ndarray)
        assert tokens == pytest.approx(value)
    assert inner.calls == [("encode", 4)]


def test_no_call_holds_more_images_than_are_allowed() -> None:
    inner = MeanEncoder()
    encoder = BatchingEncoder(inner, batch_images=4, wait_s=0.05)
    together(encoder, [grey(0.1, 3), grey(0.2, 3), grey(0.3, 2)])
    assert sum(count for _, count in inner.calls) == 8
    assert max(count for _, count in inner.calls) <= 4


def test_caller_that_stays_alone_is_not_kept_waiting_for_ever() -> None:
    inner = MeanEncoder()
    assert BatchingEncoder(inner, batch_images=4, wait_s=0.001).encode(grey(0.5)) == pytest.approx(0.5)
    assert BatchingEncoder(inner, batch_images=4, wait_s=0.0).encode(grey(0.5, 7)).shape[0] == 7


def test_bad_image_fails_its_own_caller_only() -> None:
    encoder = BatchingEncoder(Refusing(), batch_images=3, wait_s=LONG_S)
    first, white, last = together(encoder, [grey(0.1), grey(1.0), grey(0.3)])
    assert isinstance(white, EngineFailureError)
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)
    assert (first.mean(), last.mean()) == (pytest.approx(0.1), pytest.approx(0.3))


def test_encoder_goes_on_after_a_failure() -> None:
    encoder = BatchingEncoder(Refusing(), batch_images=1, wait_s=0.0)
    with pytest.raises(EngineFailureError):
        encoder.encode(grey(1.0))
    assert encoder.encode(grey(0.5)) == pytest.approx(0.5)


def test_input_that_does_not_fit_is_refused_before_it_meets_others() -> None:
    inner = MeanEncoder()
    with pytest.raises(InputShapeError):
        BatchingEncoder(inner, batch_images=4, wait_s=LONG_S).encode(np.zeros((1, 8, 8), dtype=np.float32))
    assert inner.calls == []


def test_volumes_are_passed_on_alone_and_a_family_is_wrapped_once() -> None:
    film, volume = MeanEncoder(), MeanEncoder()
    volume.info = replace(volume.info, modality="3D-CT", input_depth=10)
    model = BatchingModel(MeanModel(film, volume), batch_images=4, wait_s=0.0)
    assert model.family("3D-CT") is volume
    assert model.family("2D-CXR") is model.family("2D-CXR") is not film


def test_tokens_do_not_depend_on_the_company_they_were_made_in() -> None:
    plain = load_model(TINY, intra_op_threads=1).family("2D-CXR")
    images = np.random.default_rng(0).random((4, *plain.info.input_shape), dtype=np.float32)
    encoder = BatchingEncoder(plain, batch_images=4, wait_s=LONG_S)
    for image, tokens in zip(images, together(encoder, [image[np.newaxis] for image in images]), strict=True):
        assert isinstance(tokens, np.ndarray)
        assert np.abs(tokens - plain.encode(image[np.newaxis])).max() < 1e-5
