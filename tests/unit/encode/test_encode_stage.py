"""The encode stage on real DICOM files, with an encoder whose answers can be worked out by hand."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from models.encoder.engine import EngineError, EngineFailureError, EntityNotServedError
from models.shared.pixels import PixelErrorCode
from operators.domain.errors import ConfigError, PermanentError, TransientError
from operators.domain.headers import read_header
from operators.domain.ids import StudyUid
from operators.domain.messages import CaseWithPriors, InstanceHeader, PriorOutcome, Study
from operators.domain.reasons import ReasonCode
from operators.encode.config import EncodeConfig
from operators.encode.reading import REASON_OF_PIXEL_ERROR
from operators.encode.stage import EncodeStage
from tests.support.comparing import search, study
from tests.support.encoders import MeanEncoder, MeanModel, served
from tests.support.objects import absurd_size, dx_from_image, save, truncated


def film(*, bright_row: int = 3, bright_column: int = 3) -> NDArray[np.uint8]:
    """64 x 32 px in a 4 x 4 grid of cells, grey noise with one bright cell; no border that a crop would take away."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(60, 120, (64, 32)).astype(np.uint8)
    pixels[bright_row * 16 : bright_row * 16 + 16, bright_column * 8 : bright_column * 8 + 8] += 100
    return pixels


def saved(folder: Path, seed: str, pixels: NDArray[Any] | None = None, **attributes: Any) -> Path:
    return save(dx_from_image(film() if pixels is None else pixels, seed=seed, **attributes), folder / f"{seed}.dcm")


def study_of(*paths: Path) -> Study:
    headers = [header_of(path) for path in paths]
    return study(*headers, uid=headers[0].study_uid, paths=paths)


def header_of(path: Path) -> InstanceHeader:
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    return read_header(ds, transfer_syntax_uid=ds.file_meta.TransferSyntaxUID)


def case(current: Study, *priors: Study) -> CaseWithPriors:
    outcome = PriorOutcome.FOUND if priors else PriorOutcome.NONE_EXISTS
    return CaseWithPriors(current=current, search=search(outcome), priors=priors)


def stage(encoder: MeanEncoder | None = None, **settings: Any) -> EncodeStage:
    return EncodeStage(MeanModel(encoder or MeanEncoder()), EncodeConfig(**settings))


def test_each_image_is_encoded_once_and_all_entities_are_read_in_one_pass(tmp_path: Path) -> None:
    encoder = MeanEncoder(served(12), served(6), served(9))
    studies = [study_of(saved(tmp_path, seed)) for seed in ("now", "before", "long-ago")]
    encoded = stage(encoder, batch_images=2)(case(*studies))
    assert encoder.calls == [("encode", 2), ("encode", 1), ("read", 3)]
    assert [each.study.study_uid for each in (encoded.current, *encoded.priors)] == [s.study_uid for s in studies]
    assert [[r.entity.index for r in each.readings] for each in (encoded.current, *encoded.priors)] == [[12, 6, 9]] * 3


def test_reading_belongs_to_its_own_image(tmp_path: Path) -> None:
    dark, bright = film() // 2, film()
    encoded = stage()(case(study_of(saved(tmp_path, "now", dark)), study_of(saved(tmp_path, "before", bright))))
    now, before = encoded.current.readings[0], encoded.priors[0].readings[0]
    assert now.presence_prob == pytest.approx(dark.mean() / 255, abs=0.01)
    assert before.presence_prob == pytest.approx(bright.mean() / 255, abs=0.01)
    assert now.region.instance_uid == encoded.current.image.header.instance_uid
    assert before.region.instance_uid == encoded.priors[0].image.header.instance_uid
    assert encoded.current.tokens.shape == encoded.priors[0].tokens.shape == (16, 1)
    assert encoded.current.tokens.mean() == pytest.approx(now.presence_prob)
    assert encoded.priors[0].tokens.mean() == pytest.approx(before.presence_prob)


def test_evidence_is_told_in_the_pixels_of_the_image(tmp_path: Path) -> None:
    encoded = stage()(case(study_of(saved(tmp_path, "now", film(bright_row=1, bright_column=2)))))
    region = encoded.current.readings[0].region
    assert (region.left_px, region.top_px, region.right_px, region.bottom_px) == (16, 16, 24, 32)


def test_evidence_that_holds_more_of_the_attention_covers_more_of_the_image(tmp_path: Path) -> None:
    pixels = film(bright_row=1, bright_column=2)
    pixels[16:32, 8:16] += 60  # the cell to its left comes next
    encoded = stage(evidence_mass_share=0.9)(case(study_of(saved(tmp_path, "now", pixels))))
    region = encoded.current.readings[0].region
    assert (region.left_px, region.top_px, region.right_px, region.bottom_px) == (8, 16, 24, 32)


def test_evidence_on_a_film_with_a_burnt_border_is_told_in_the_pixels_of_the_whole_image(tmp_path: Path) -> None:
    bordered = np.pad(film(bright_row=1, bright_column=2), ((10, 0), (20, 0)))
    encoded = stage()(case(study_of(saved(tmp_path, "now", bordered))))
    region = encoded.current.readings[0].region
    assert (region.left_px, region.top_px, region.right_px, region.bottom_px) == (36, 26, 44, 42)


def test_term_carries_the_codes_and_the_cuts_of_the_bundle(tmp_path: Path) -> None:
    entity = stage()(case(study_of(saved(tmp_path, "now")))).current.readings[0].entity
    assert (entity.finding_code, entity.site_code) == ("pleural_effusion", "pleura")
    assert (entity.absent_below, entity.present_from) == (0.3, 0.7)


def test_bundle_that_serves_an_entity_without_codes_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as refused:
        stage(MeanEncoder(served(399)))
    assert refused.value.code is ReasonCode.BUNDLE_UNUSABLE


def test_prior_is_read_in_the_projection_of_the_current(tmp_path: Path) -> None:
    current = study_of(saved(tmp_path, "now", ViewPosition="AP"))
    pa = saved(tmp_path, "pa", ViewPosition="PA")
    ap = saved(tmp_path, "ap", ViewPosition="AP", StudyInstanceUID=header_of(pa).study_uid)
    encoded = stage()(case(current, study_of(pa, ap)))
    assert encoded.priors[0].image.path == ap
    assert encoded.priors[0].skipped == ((header_of(pa).instance_uid, ReasonCode.OTHER_IMAGE_READ),)


def test_unreadable_prior_is_left_out_with_its_reason_and_the_next_is_kept(tmp_path: Path) -> None:
    broken = study_of(truncated(saved(tmp_path, "broken")))
    foreign = study_of(saved(tmp_path, "foreign", BodyPartExamined="KNEE"))
    good = study_of(saved(tmp_path, "good"))
    encoded = stage()(case(study_of(saved(tmp_path, "now")), broken, foreign, good))
    assert encoded.unreadable_priors == (
        (StudyUid(broken.study_uid), ReasonCode.TRUNCATED),
        (StudyUid(foreign.study_uid), ReasonCode.MODALITY_NOT_SERVED),
    )
    assert [prior.study.study_uid for prior in encoded.priors] == [good.study_uid]


def test_second_best_image_is_read_when_the_best_is_damaged(tmp_path: Path) -> None:
    ap = saved(tmp_path, "ap", ViewPosition="AP")
    damaged = truncated(saved(tmp_path, "pa", ViewPosition="PA"))
    encoded = stage()(case(study_of(damaged, ap)))
    assert encoded.current.image.path == ap
    assert encoded.current.skipped == ((header_of(damaged).instance_uid, ReasonCode.TRUNCATED),)


def test_truncated_current_image_parks_the_study(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as parked:
        stage()(case(study_of(truncated(saved(tmp_path, "now")))))
    assert parked.value.code is ReasonCode.TRUNCATED


def test_study_is_parked_for_what_is_wrong_with_its_best_image(tmp_path: Path) -> None:
    best = truncated(saved(tmp_path, "pa", ViewPosition="PA"))
    other = saved(tmp_path, "ap", ViewPosition="AP")
    current = study_of(best, other)
    other.unlink()
    with pytest.raises(PermanentError) as parked:
        stage()(case(current))
    assert parked.value.code is ReasonCode.TRUNCATED


def test_absurd_size_parks_the_study(tmp_path: Path) -> None:
    path = save(absurd_size(rows=60000, columns=60000), tmp_path / "absurd.dcm")
    with pytest.raises(PermanentError) as parked:
        stage()(case(study_of(path)))
    assert parked.value.code is ReasonCode.ABSURD_SIZE


def test_image_larger_than_configured_parks_the_study(tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as parked:
        stage(max_frame_px=1000)(case(study_of(saved(tmp_path, "now"))))
    assert parked.value.code is ReasonCode.ABSURD_SIZE


def test_missing_spool_file_parks_the_study(tmp_path: Path) -> None:
    path = saved(tmp_path, "now")
    current = study_of(path)
    path.unlink()
    with pytest.raises(PermanentError) as parked:
        stage()(case(current))
    assert parked.value.code is ReasonCode.SPOOL_FILE_MISSING


def test_unreadable_disk_is_tried_again(tmp_path: Path) -> None:
    path = saved(tmp_path, "now")
    current = study_of(path)
    path.unlink()
    path.mkdir()  # opening it is an OSError of another kind
    with pytest.raises(TransientError):
        stage()(case(current))


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Modality": "MG"}, ReasonCode.MODALITY_NOT_SERVED),
        ({"BodyPartExamined": "HAND"}, ReasonCode.MODALITY_NOT_SERVED),
        ({"ViewPosition": "LL"}, ReasonCode.NO_READABLE_VIEW),
    ],
)
def test_study_without_a_view_for_the_model_is_parked(
    tmp_path: Path, attributes: dict[str, Any], code: ReasonCode
) -> None:
    with pytest.raises(PermanentError) as parked:
        stage()(case(study_of(saved(tmp_path, "now", **attributes))))
    assert parked.value.code is code


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (EngineFailureError("out of memory"), TransientError),
        (EntityNotServedError(entity_index=12, bundle_id="mean"), PermanentError),
    ],
)
def test_engine_error_leaves_as_an_error_of_the_tree(
    tmp_path: Path, failure: EngineError, kind: type[PermanentError | TransientError]
) -> None:
    with pytest.raises(kind) as stopped:
        stage(MeanEncoder(failure=failure))(case(study_of(saved(tmp_path, "now"))))
    assert stopped.value.code is ReasonCode.BUNDLE_UNUSABLE


def test_every_pixel_error_has_a_reason() -> None:
    assert set(REASON_OF_PIXEL_ERROR) == set(PixelErrorCode)


def test_nothing_of_the_patient_is_logged_or_said_in_errors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    broken = study_of(truncated(saved(tmp_path, "broken", PatientName="Planted^Name", PatientID="PLANTED-ID")))
    with pytest.raises(PermanentError) as parked:
        stage()(case(broken))
    stage()(case(study_of(saved(tmp_path, "now", PatientName="Planted^Name", PatientID="PLANTED-ID")), broken))
    told = " ".join(str(vars(record)) for record in caplog.records) + str(parked.value)
    assert "encode.done" in told
    assert "encode.prior_unreadable" in told
    assert "Planted" not in told
    assert "PLANTED" not in told
    assert broken.study_uid not in told


@pytest.mark.parametrize(
    "settings",
    [
        {"bundle": ""},
        {"bundle": "../elsewhere"},
        {"threads": -1},
        {"batch_images": 0},
        {"max_frame_px": 0},
        {"evidence_mass_share": 0.0},
        {"evidence_mass_share": 1.5},
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EncodeConfig(**settings)
