"""Encode and compare on real films: all transfer syntaxes read alike, the shipped bundle speaks within its bounds."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID

from models.encoder.engine import EncoderModel
from models.encoder.onnx_engine import load_model
from operators.compare.config import CompareConfig
from operators.compare.grounding import strike_unsupported
from operators.compare.stage import CompareStage
from operators.compare.states import MIRROR
from operators.domain.messages import (
    CaseWithPriors,
    ChangeState,
    EncodedCase,
    EncodedStudy,
    PriorOutcome,
    RetrievedCase,
    Study,
)
from operators.encode.config import EncodeConfig
from operators.encode.stage import EncodeStage
from tests.support.comparing import search
from tests.support.comparisons import CURRENT_FILM, PRIOR_FILM, film_study
from tests.support.encoders import MeanEncoder, MeanModel
from tests.support.transcoding import LOSSLESS_SYNTAXES, missing_program, transcoded

BUNDLES = Path(__file__).parents[2] / "models" / "bundles"
SHIPPED = EncodeConfig().bundle
EARLIER, LATER = "20240102", "20240123"


def case(current: Study, *priors: Study) -> CaseWithPriors:
    return CaseWithPriors(current=current, search=search(PriorOutcome.FOUND), priors=priors)


def film(folder: Path, of: Path, seed: str, date: str) -> Study:
    return film_study(folder, of, seed=seed, StudyDate=date, ViewPosition="AP")


@pytest.fixture
def films(tmp_path: Path) -> tuple[Study, Study]:
    """Return a follow-up and its prior, three weeks apart, both AP."""
    return film(tmp_path, CURRENT_FILM, "current", LATER), film(tmp_path, PRIOR_FILM, "prior", EARLIER)


@pytest.mark.peer
@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_lossless_transfer_syntax_changes_nothing_that_the_model_sees(
    tmp_path: Path, films: tuple[Study, Study], syntax: UID
) -> None:
    if program := missing_program(syntax):
        pytest.skip(f"{program} is not installed")
    plain, prior = films
    (image,) = plain.images
    (tmp_path / "again").mkdir()
    packed = film(tmp_path / "again", CURRENT_FILM, "current", LATER)
    packed.images[0].path.write_bytes(transcoded(image.path, syntax, tmp_path).read_bytes())
    stage = EncodeStage(MeanModel(MeanEncoder(side_px=384, grid_side=12)), EncodeConfig())
    read_plain, read_packed = stage(case(plain, prior)).current, stage(case(packed, prior)).current
    assert np.array_equal(read_plain.tokens, read_packed.tokens)
    assert [each.region for each in read_plain.readings] == [each.region for each in read_packed.readings]


@pytest.fixture(scope="module")
def shipped() -> EncoderModel:
    """Return the engine on the bundle that ships."""
    if not (BUNDLES / SHIPPED).is_dir():
        pytest.skip(f"the bundle {SHIPPED} is not installed")
    return load_model(BUNDLES / SHIPPED, intra_op_threads=1)


def encode(encoder: EncoderModel, *studies: Study) -> EncodedCase:
    return EncodeStage(encoder, EncodeConfig())(case(*studies))


def test_shipped_bundle_reads_every_entity_it_serves_within_bounds(
    shipped: EncoderModel, films: tuple[Study, Study]
) -> None:
    encoded = encode(shipped, *films)
    for read in (encoded.current, *encoded.priors):
        assert [each.entity.index for each in read.readings] == [
            each.index for each in shipped.info.families[0].entities
        ]
        rows, columns = read.image.header.rows or 0, read.image.header.columns or 0
        for each in read.readings:
            assert 0 <= each.presence_prob <= 1
            assert np.linalg.norm(each.embedding) == pytest.approx(1, abs=1e-4)
            assert 0 <= each.region.left_px < each.region.right_px <= columns
            assert 0 <= each.region.top_px < each.region.bottom_px <= rows
            assert each.region.instance_uid == read.image.header.instance_uid


def test_reading_of_an_image_does_not_depend_on_its_company(shipped: EncoderModel, films: tuple[Study, Study]) -> None:
    together, alone = encode(shipped, *films), encode(shipped, films[0])
    for one, other in zip(together.current.readings, alone.current.readings, strict=True):
        assert one.presence_prob == pytest.approx(other.presence_prob, abs=1e-4)
        assert np.abs(one.embedding - other.embedding).max() < 1e-4


def states(current: EncodedStudy, prior: EncodedStudy, of: EncodedCase) -> dict[int, ChangeState]:
    swapped = EncodedCase(current=current, priors=(prior,), search=of.search, bundle=of.bundle)
    comparison = CompareStage(CompareConfig())(RetrievedCase(encoded=swapped, similar=())).comparison
    assert strike_unsupported(comparison.sentences, comparison.findings) == comparison.sentences
    return {finding.entity.index: finding.state for finding in comparison.findings}


def test_shipped_bundle_compares_a_film_with_itself_without_change(shipped: EncoderModel, tmp_path: Path) -> None:
    now, before = film(tmp_path, CURRENT_FILM, "now", LATER), film(tmp_path, CURRENT_FILM, "before", EARLIER)
    encoded = encode(shipped, now, before)
    found = set(states(encoded.current, encoded.priors[0], encoded).values())
    assert found <= {ChangeState.STABLE, ChangeState.ABSENT, ChangeState.UNDETERMINED}


def test_shipped_bundle_flips_its_answer_with_the_dates(shipped: EncoderModel, tmp_path: Path) -> None:
    forward = encode(shipped, film(tmp_path, CURRENT_FILM, "a", LATER), film(tmp_path, PRIOR_FILM, "b", EARLIER))
    backward = encode(shipped, film(tmp_path, PRIOR_FILM, "c", LATER), film(tmp_path, CURRENT_FILM, "d", EARLIER))
    there = states(forward.current, forward.priors[0], forward)
    back = states(backward.current, backward.priors[0], backward)
    assert back == {index: MIRROR[state] for index, state in there.items()}
