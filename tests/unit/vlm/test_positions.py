"""Rotary positions of text and images, with and without padding."""

import numpy as np
import pytest

from models.vlm.positions import ImageBlockError, rotary_positions
from tests.support.vlm_folder import FIXTURES

FILES = ("vlm_two_2d", "vlm_two_ct_depth240", "vlm_two_mri_depth30", "vlm_batch_left_padded")
IMAGE = 9


@pytest.mark.parametrize("name", FILES)
def test_positions_are_those_of_the_reference(name: str) -> None:
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        placed = rotary_positions(arrays["input_ids"], arrays["attention_mask"], image_token=305, grid_side=4)
        assert np.array_equal(placed.ids, arrays["position_ids"])
        assert np.array_equal(placed.rope_delta, arrays["rope_delta"])


def test_an_image_spreads_over_rows_and_columns_and_text_goes_on_after_its_largest_position() -> None:
    ids = np.array([[1, IMAGE, IMAGE, IMAGE, IMAGE, 2]])
    placed = rotary_positions(ids, np.ones_like(ids), image_token=IMAGE, grid_side=2)
    assert placed.ids[:, 0].tolist() == [[0, 1, 1, 1, 1, 3], [0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3]]
    assert placed.next_position.tolist() == [4]


def test_two_images_without_a_mark_between_follow_each_other() -> None:
    ids = np.full((1, 8), IMAGE)
    placed = rotary_positions(ids, np.ones_like(ids), image_token=IMAGE, grid_side=2)
    assert placed.ids[0, 0].tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
    assert placed.next_position.tolist() == [4]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_shift_a_prompt(side: str) -> None:
    row = np.array([1, IMAGE, IMAGE, IMAGE, IMAGE, 2])
    alone = rotary_positions(row[None], np.ones((1, 6), dtype=np.int64), image_token=IMAGE, grid_side=2)
    pads = ((3, 0) if side == "left" else (0, 3),)
    ids, mask = np.pad(row, pads)[None], np.pad(np.ones(6, dtype=np.int64), pads)[None]
    padded = rotary_positions(ids, mask, image_token=IMAGE, grid_side=2)
    assert np.array_equal(padded.ids[:, mask == 1], alone.ids[:, 0])
    assert padded.next_position.tolist() == alone.next_position.tolist()


def test_a_broken_image_block_is_refused() -> None:
    ids = np.array([[1, IMAGE, IMAGE, IMAGE, 2]])
    with pytest.raises(ImageBlockError) as caught:
        rotary_positions(ids, np.ones_like(ids), image_token=IMAGE, grid_side=2)
    assert (caught.value.length, caught.value.image_tokens) == (3, 4)
