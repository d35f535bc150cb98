"""Encode studies of all four families with a bundle whose graphs are real: what is read, what is parked, and why."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from models.encoder.engine import EncoderModel
from models.encoder.onnx_engine import load_model
from models.shared.volumes import LeftOut, VolumeErrorCode
from operators.domain.errors import PermanentError
from operators.domain.messages import CaseWithPriors, EncodedCase, PriorOutcome, Study
from operators.domain.reasons import REASONS, ReasonCode
from operators.encode.config import EncodeConfig
from operators.encode.stage import EncodeStage
from operators.encode.volumes import REASON_OF_LEFT_OUT, REASON_OF_VOLUME_ERROR
from tests.support.comparing import search, study_on_disk
from tests.support.objects import dx_from_image
from tests.support.tiny import TINY
from tests.support.volumes import GRID, SAGITTAL, ct_series, enhanced, mr_series, save_all, us_image

Objects = Sequence[FileDataset]


@pytest.fixture(scope="module")
def model() -> EncoderModel:
    return load_model(TINY, intra_op_threads=1)


@pytest.fixture
def stage(model: EncoderModel) -> EncodeStage:
    return EncodeStage(model, EncodeConfig(bundle="tiny"))


def on_disk(folder: Path, objects: Objects, *, order: Sequence[int] | None = None) -> Study:
    return study_on_disk(save_all(objects, folder, order=order))


def case(current: Study, *priors: Study) -> CaseWithPriors:
    return CaseWithPriors(current=current, search=search(PriorOutcome.FOUND), priors=priors)


def renumber(objects: Objects, root: str) -> None:
    """Give the objects new SOP Instance UIDs."""
    for number, ds in enumerate(objects):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{root}{number}")


def us(seed: str = "us", **attributes: Any) -> FileDataset:
    rng = np.random.default_rng(3)
    return us_image(rng.integers(0, 255, (60, 80), dtype=np.uint8), seed=seed, **attributes)


def film(seed: str = "dx") -> FileDataset:
    return dx_from_image(np.random.default_rng(5).integers(0, 255, (64, 64), dtype=np.uint8), seed=seed)


FAMILIES: dict[str, Callable[[], Objects]] = {
    "2D-CXR": lambda: [film()],
    "3D-CT": ct_series,
    "3D-Brain-MRI": mr_series,
    "2D-Ultrasound": lambda: [us()],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_study_is_read_by_the_family_of_its_modality(family: str, stage: EncodeStage, tmp_path: Path) -> None:
    encoded = stage(case(on_disk(tmp_path, FAMILIES[family]())))
    served = stage.model.info.family(family)
    assert encoded.bundle.modality == family
    assert [each.entity.index for each in encoded.current.readings] == [each.index for each in served.entities]
    assert encoded.current.tokens.shape == (served.token_count, served.token_width)
    header = encoded.current.image.header
    for each in encoded.current.readings:
        assert 0 <= each.region.left_px < each.region.right_px <= (header.columns or 0)
        assert 0 <= each.region.top_px < each.region.bottom_px <= (header.rows or 0)


def test_region_of_a_ct_lies_on_the_middle_slice(stage: EncodeStage, tmp_path: Path) -> None:
    objects = ct_series()
    current = stage(case(on_disk(tmp_path, objects))).current
    middle = {objects[index].SOPInstanceUID for index in (9, 10)}
    assert {each.region.instance_uid for each in current.readings} <= middle
    assert current.image.header.instance_uid in middle
    assert current.scope.slices == GRID.slices


def test_entity_that_nobody_measured_keeps_no_cuts(stage: EncodeStage, tmp_path: Path) -> None:
    readings = stage(case(on_disk(tmp_path, ct_series()))).current.readings
    assert [each.entity.index for each in readings if each.entity.present_from is not None] == [102, 103]


def embeddings(encoded: EncodedCase) -> np.ndarray:
    return np.stack([each.embedding for each in encoded.current.readings])


def test_order_of_arrival_and_duplicates_change_nothing(stage: EncodeStage, tmp_path: Path) -> None:
    plain = stage(case(on_disk(tmp_path / "plain", ct_series())))
    order = np.random.default_rng(1).permutation(GRID.slices).tolist()
    shuffled = stage(case(on_disk(tmp_path / "shuffled", ct_series(), order=order)))
    again = ct_series()[4:7]
    renumber(again, "1.2.3.9.")
    doubled = stage(case(on_disk(tmp_path / "doubled", [*ct_series(), *again])))
    assert np.array_equal(embeddings(plain), embeddings(shuffled))
    assert np.array_equal(embeddings(plain), embeddings(doubled))
    assert any("twice" in note for note in doubled.current.scope.notes)


def test_missing_slice_is_bridged_and_said(stage: EncodeStage, tmp_path: Path) -> None:
    current = stage(case(on_disk(tmp_path, ct_series(grid=GRID.without(7))))).current
    assert current.scope.slices == GRID.slices - 1
    assert any("interpolated" in note for note in current.scope.notes)


def test_tilted_gantry_is_straightened_and_said(stage: EncodeStage, tmp_path: Path) -> None:
    current = stage(case(on_disk(tmp_path, ct_series(grid=replace(GRID, tilt_deg=15.0))))).current
    assert any("straightened" in note for note in current.scope.notes)


def test_mixed_spacing_is_read_at_its_true_places_and_said(stage: EncodeStage, tmp_path: Path) -> None:
    places = (*np.arange(-60, 0, 5.0).tolist(), *np.arange(0, 60, 7.0).tolist())
    current = stage(case(on_disk(tmp_path, ct_series(grid=replace(GRID, places_mm=places))))).current
    assert any("evenly spaced" in note for note in current.scope.notes)


def without_geometry() -> Objects:
    objects = ct_series()
    for ds in objects:
        del ds.ImagePositionPatient
    return objects


def without_hounsfield() -> Objects:
    objects = ct_series()
    for ds in objects:
        del ds.RescaleSlope, ds.RescaleIntercept
    return objects


BAD: dict[str, tuple[Callable[[], Objects], ReasonCode]] = {
    "gap": (lambda: ct_series(grid=GRID.without(*range(6, 12))), ReasonCode.SLICES_MISSING),
    "too few": (lambda: ct_series(grid=replace(GRID, slices=3)), ReasonCode.TOO_FEW_SLICES),
    "sheared": (lambda: ct_series(grid=replace(GRID, tilt_deg=50.0)), ReasonCode.SLICES_TILTED),
    "no geometry": (without_geometry, ReasonCode.SLICES_WITHOUT_GEOMETRY),
    "no Hounsfield units": (without_hounsfield, ReasonCode.NOT_HOUNSFIELD),
    "localizer alone": (
        lambda: ct_series(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        ReasonCode.IMAGE_NOT_PRIMARY,
    ),
    "sagittal CT": (lambda: ct_series(grid=replace(GRID, orientation=SAGITTAL)), ReasonCode.SERIES_NOT_SUITED),
    "abdomen": (
        lambda: ct_series(BodyPartExamined="ABDOMEN", SeriesDescription="Liver", StudyDescription="Liver"),
        ReasonCode.MODALITY_NOT_SERVED,
    ),
    "says nothing of the part": (
        lambda: ct_series(BodyPartExamined="", SeriesDescription="1.0 B30", StudyDescription=""),
        ReasonCode.BODY_PART_UNKNOWN,
    ),
    "knee": (
        lambda: mr_series(BodyPartExamined="KNEE", SeriesDescription="T1", StudyDescription="Knee"),
        ReasonCode.MODALITY_NOT_SERVED,
    ),
    "heart": (
        lambda: [us(BodyPartExamined="HEART", SeriesDescription="", StudyDescription="TTE")],
        ReasonCode.MODALITY_NOT_SERVED,
    ),
    "M-mode strip": (
        lambda: [us(ImageType=["ORIGINAL", "PRIMARY", "SMALL PARTS", "0002"])],
        ReasonCode.NO_READABLE_VIEW,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_study_that_cannot_be_read_is_parked_with_its_reason(name: str, stage: EncodeStage, tmp_path: Path) -> None:
    make, code = BAD[name]
    with pytest.raises(PermanentError) as parked:
        stage(case(on_disk(tmp_path, make())))
    assert parked.value.code is code
    assert REASONS[code].action


def test_every_error_of_volumes_and_every_reason_to_leave_a_series_out_has_a_code() -> None:
    assert set(REASON_OF_VOLUME_ERROR) == set(VolumeErrorCode)
    assert set(REASON_OF_LEFT_OUT) == set(LeftOut)


def test_enhanced_multi_frame_is_read_and_the_frame_is_named(stage: EncodeStage, tmp_path: Path) -> None:
    current = stage(case(on_disk(tmp_path, [enhanced(mr_series())]))).current
    frames = {each.region.frame_number for each in current.readings}
    assert frames <= {10, 11}
    assert current.scope.frame_number in frames
    assert current.scope.weighting == "t1"


def test_sagittal_series_shows_each_place_on_the_slice_that_holds_it(stage: EncodeStage, tmp_path: Path) -> None:
    grid = replace(GRID, orientation=SAGITTAL)
    current = stage(case(on_disk(tmp_path, mr_series(grid=grid)))).current
    uids = {image.header.instance_uid for image in current.study.images}
    assert {each.region.instance_uid for each in current.readings} <= uids
    assert current.scope.plane == "sagittal"


def test_soft_kernel_is_read_and_the_lung_kernel_is_named_as_left_out(stage: EncodeStage, tmp_path: Path) -> None:
    soft = ct_series(ConvolutionKernel="B30f", SeriesNumber="2")
    sharp = ct_series(ConvolutionKernel="B70f", SeriesNumber="3", SeriesInstanceUID="1.2.3.70")
    renumber(sharp, "1.2.3.70.")
    current = stage(case(on_disk(tmp_path, [*sharp, *soft]))).current
    assert current.scope.kernel == "soft"
    assert set(current.skipped) == {(ds.SOPInstanceUID, ReasonCode.OTHER_SERIES_READ) for ds in sharp}


def test_prior_is_read_in_the_kernel_of_the_current(stage: EncodeStage, tmp_path: Path) -> None:
    current = on_disk(tmp_path / "now", ct_series(seed="now", ConvolutionKernel="B70f"))
    soft = ct_series(seed="before", ConvolutionKernel="B30f")
    sharp = ct_series(seed="before", ConvolutionKernel="B70f", SeriesInstanceUID="1.2.3.70")
    renumber(sharp, "1.2.3.70.")
    encoded = stage(case(current, on_disk(tmp_path / "before", [*soft, *sharp])))
    assert encoded.priors[0].scope.kernel == "sharp"


def test_prior_of_another_family_is_left_out_with_its_reason(stage: EncodeStage, tmp_path: Path) -> None:
    prior = on_disk(tmp_path / "before", [film("before")])
    encoded = stage(case(on_disk(tmp_path / "now", ct_series()), prior))
    assert encoded.unreadable_priors == ((prior.study_uid, ReasonCode.OTHER_FAMILY),)


def test_study_of_two_modalities_is_read_by_the_first_family_that_can(stage: EncodeStage, tmp_path: Path) -> None:
    both = [*ct_series(seed="one"), *mr_series(seed="one")]
    renumber(both, "1.2.3.4.")
    encoded = stage(case(on_disk(tmp_path / "both", both)))
    assert encoded.bundle.modality == "3D-CT"
    few = [*ct_series(seed="two", grid=replace(GRID, slices=2)), *mr_series(seed="two")]
    renumber(few, "1.2.3.5.")
    assert stage(case(on_disk(tmp_path / "few", few))).bundle.modality == "3D-Brain-MRI"


def test_representative_frame_of_a_clip_is_read(stage: EncodeStage, tmp_path: Path) -> None:
    clip = np.random.default_rng(2).integers(0, 255, (5, 60, 80, 3), dtype=np.uint8)
    said = on_disk(tmp_path / "said", [us_image(clip, seed="said", RepresentativeFrameNumber=2)])
    unsaid = on_disk(tmp_path / "unsaid", [us_image(clip, seed="unsaid")])
    for study, number in ((said, 2), (unsaid, 3)):
        current = stage(case(study)).current
        assert current.scope.frame_number == number
        assert {each.region.frame_number for each in current.readings} == {number}


def test_plain_still_is_read_before_colour_and_clips(stage: EncodeStage, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    shared = {"StudyInstanceUID": "1.2.3"}
    colour = us("colour", ImageType=["ORIGINAL", "PRIMARY", "SMALL PARTS", "0011"], InstanceNumber="1", **shared)
    clip = us_image(rng.integers(0, 255, (5, 60, 80), dtype=np.uint8), seed="clip", InstanceNumber="2", **shared)
    plain = us("plain", ImageType=["ORIGINAL", "PRIMARY", "SMALL PARTS", "0001"], InstanceNumber="3", **shared)
    current = stage(case(on_disk(tmp_path, [colour, clip, plain]))).current
    assert current.image.header.instance_uid == plain.SOPInstanceUID
    assert {reason for _, reason in current.skipped} == {ReasonCode.OTHER_IMAGE_READ}
