"""Ultrasound: the frame that speaks for an image, and the model's input made of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage, UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from models.shared.pixels import read_file_frame, read_frame
from models.shared.pixels.ultrasound import (
    ChosenFrame,
    FrameLeftOut,
    UltrasoundFacts,
    choose_frames,
    middle_frame,
    ultrasound_input,
)
from models.shared.volumes import reference_input
from tests.support.objects import save
from tests.support.volumes import us_image

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(("frames", "expected"), [(0, 0), (1, 0), (2, 0), (3, 1), (40, 19), (41, 20)])
def test_a_clip_is_shown_by_its_middle_frame(frames: int, expected: int) -> None:
    assert middle_frame(frames) == expected


def test_every_ultrasound_image_gives_a_frame_and_pages_give_none() -> None:
    still = UltrasoundFacts(instance_uid="1", sop_class_uid=UltrasoundImageStorage, modality="US")
    clip = UltrasoundFacts(instance_uid="2", sop_class_uid=UltrasoundMultiFrameImageStorage, modality="US", frames=31)
    page = UltrasoundFacts(instance_uid="3", sop_class_uid=SecondaryCaptureImageStorage, modality="US")
    other = UltrasoundFacts(instance_uid="4", sop_class_uid=UltrasoundImageStorage, modality="OT")
    choice = choose_frames([still, clip, page, other])
    assert choice.frames == (
        ChosenFrame(instance_uid="1", frame_index=0, of_frames=1),
        ChosenFrame(instance_uid="2", frame_index=15, of_frames=31),
    )
    assert choice.left_out == (("3", FrameLeftOut.NOT_AN_ULTRASOUND_IMAGE), ("4", FrameLeftOut.OTHER_MODALITY))


def test_a_colour_still_gives_the_input_that_the_published_pipeline_makes_of_the_same_picture(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    pixels[:, :30] = 0  # a black margin is kept
    Image.fromarray(pixels).save(tmp_path / "still.png")
    expected = reference_input(tmp_path / "still.png", "2D-Ultrasound", side_px=64)[0, 0]
    assert (ultrasound_input(read_frame(us_image(pixels)), 64) == expected).all()


def test_the_frame_asked_for_is_the_one_that_is_read(tmp_path: Path) -> None:
    clip = np.stack([np.full((32, 32), value, dtype=np.uint8) for value in (10, 20, 30, 40, 50)])
    path = save(us_image(clip), tmp_path / "clip.dcm")
    frame = read_file_frame(path, middle_frame(5))
    assert frame.pixels == pytest.approx(np.full((32, 32), 30 / 255))
