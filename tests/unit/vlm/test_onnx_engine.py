"""The engine on the fixtures' model, exported: no torch here."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.vlm.decoding import PromptLayout, TokenPrompt, decode, shared_length
from models.vlm.engine import (
    GenerationOptions,
    ImageFeatures,
    ImageShapeError,
    IntArray,
    ModalityNotServedError,
    Prompt,
    PromptTooLongError,
    StopReason,
)
from models.vlm.onnx_engine import VlmEngine, load_vlm_engine
from tests.support.vlm_folder import BUNDLE, FIXTURES

LAYOUT = PromptLayout(image_token=305, pad_token=304, grid_side=4)
MODALITY = {1: "2D-CXR", 240: "3D-CT", 30: "3D-Brain-MRI"}
QUESTIONS = ("Did the effusion of Case B grow?", "Is there a nodule in Case A, and was it there before?", "né?")
SAMPLED = {"temperature": 1.5, "top_k": 50, "top_p": 0.95}


@pytest.fixture(scope="module")
def engine() -> VlmEngine:
    return load_vlm_engine(BUNDLE, threads=1)


@pytest.fixture(scope="module")
def films(engine: VlmEngine) -> ImageFeatures:
    return engine.look(list(_arrays("vlm_two_2d")["pixel_values"][:, 0, 0]), "2D-CXR")


def _arrays(name: str) -> dict[str, NDArray[Any]]:
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        return dict(arrays)


def _look(engine: VlmEngine, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    images = arrays["pixel_values"][:, 0]
    depth = images.shape[1]
    return engine.look([image[0] if depth == 1 else image for image in images], MODALITY[depth]).features


def _token_prompts(arrays: dict[str, NDArray[Any]], features: NDArray[np.float32]) -> list[TokenPrompt]:
    rows, used = features.reshape(-1, features.shape[-1]), 0
    prompts = []
    for ids, mask in zip(arrays["input_ids"], arrays["attention_mask"], strict=True):
        kept = ids[mask == 1]
        count = int((kept == LAYOUT.image_token).sum())
        prompts.append(TokenPrompt(token_ids=kept, features=rows[used : used + count]))
        used += count
    return prompts


def _tokens(engine: VlmEngine, prompts: Sequence[TokenPrompt], options: GenerationOptions) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in prompts]
    for new in decode(engine._decoder, LAYOUT, prompts, options, frozenset()):
        found[new.row].append(new.token_id)
    return found


@pytest.mark.parametrize("name", ["vlm_two_2d", "vlm_two_ct_depth240", "vlm_two_mri_depth30"])
def test_vision_tokens_and_greedy_tokens_are_those_of_the_reference(engine: VlmEngine, name: str) -> None:
    arrays = _arrays(name)
    features = _look(engine, arrays)
    reference = arrays["vision_tokens"]
    assert np.abs(features.reshape(reference.shape) - reference).max() <= 2e-5 * np.abs(reference).max()
    prompts = _token_prompts(arrays, features)
    for penalty, target in ((1.0, "greedy_tokens"), (1.05, "greedy_tokens_rep_penalty_1_05")):
        options = GenerationOptions(max_new_tokens=8, repetition_penalty=penalty)
        assert _tokens(engine, prompts, options) == arrays[target].tolist()


def test_padded_prompts_get_what_each_gets_alone(engine: VlmEngine) -> None:
    arrays = _arrays("vlm_batch_left_padded")
    prompts = _token_prompts(arrays, _look(engine, arrays))
    options = GenerationOptions(max_new_tokens=8, repetition_penalty=1.0)
    assert _tokens(engine, prompts, options) == arrays["greedy_tokens_each_prompt_alone"].tolist()


def test_questions_about_the_same_images_get_the_answers_they_get_alone(
    engine: VlmEngine, films: ImageFeatures
) -> None:
    prompts = [Prompt(question=question, images=films) for question in QUESTIONS]
    options = GenerationOptions(max_new_tokens=12)
    together = engine.generate(prompts, options)
    assert together == [engine.generate([prompt], options)[0] for prompt in prompts]
    assert len({answer.token_ids for answer in together}) == len(QUESTIONS)


def test_what_prompts_share_runs_once(engine: VlmEngine, films: ImageFeatures) -> None:
    prepared = engine._prepare([Prompt(question=q, images=films) for q in QUESTIONS], GenerationOptions())
    shared = shared_length(prepared)
    assert shared > 2 * 16
    assert (prepared[0].token_ids[:shared] == LAYOUT.image_token).sum() == 2 * 16
    other = ImageFeatures(modality=films.modality, features=films.features.copy())
    mixed = engine._prepare(
        [Prompt(question="a", images=films), Prompt(question="a", images=other)], GenerationOptions()
    )
    assert shared_length(mixed) == 0


def test_the_shared_beginning_leaves_each_prompt_a_token_of_its_own() -> None:
    ids: IntArray = np.arange(5)
    features = np.zeros((0, 4), dtype=np.float32)
    same = [TokenPrompt(token_ids=ids, features=features), TokenPrompt(token_ids=ids, features=features)]
    assert shared_length(same) == 4


def test_sampling_repeats_with_its_seed_and_a_row_does_not_depend_on_its_neighbours(
    engine: VlmEngine, films: ImageFeatures
) -> None:
    prompts = [Prompt(question=question, images=films) for question in QUESTIONS]
    options = GenerationOptions(max_new_tokens=10, seed=3, **SAMPLED)  # type: ignore[arg-type]
    first = engine.generate(prompts, options)
    assert engine.generate(prompts, options) == first
    assert engine.generate(prompts[:1], options)[0] == first[0]
    other = GenerationOptions(max_new_tokens=10, seed=4, **SAMPLED)  # type: ignore[arg-type]
    assert engine.generate(prompts, other) != first


def test_a_stream_gives_the_same_text_in_pieces(engine: VlmEngine, films: ImageFeatures) -> None:
    prompts = [Prompt(question=question, images=films) for question in QUESTIONS[:2]]
    options = GenerationOptions(max_new_tokens=30)
    pieces = list(engine.stream(prompts, options))
    answers = engine.generate(prompts, options)
    for row, answer in enumerate(answers):
        mine = [piece for piece in pieces if piece.row == row]
        assert "".join(piece.text for piece in mine) == answer.text
        assert [piece.stop for piece in mine] == [None] * (len(mine) - 1) + [answer.stop]
    assert len(pieces) == sum(len(answer.token_ids) + (answer.stop is StopReason.ENDED) for answer in answers)


def test_a_stream_may_be_left_early(engine: VlmEngine, films: ImageFeatures) -> None:
    stream = engine.stream([Prompt(question="x", images=films)], GenerationOptions(max_new_tokens=400))
    assert len(list(itertools.islice(stream, 3))) == 3


def test_rows_stop_each_on_its_own_and_the_others_go_on_unchanged(engine: VlmEngine, films: ImageFeatures) -> None:
    options = GenerationOptions(max_new_tokens=8)
    prepared = engine._prepare([Prompt(question=q, images=films) for q in QUESTIONS], options)
    free = _tokens(engine, prepared, options)
    stop = next(token for token in free[0][1:4] if all(token not in row for row in free[1:]))
    ended = list(decode(engine._decoder, LAYOUT, prepared, options, frozenset({stop})))
    mine = [new.token_id for new in ended if new.row == 0]
    assert mine == free[0][: free[0].index(stop) + 1]
    for row in (1, 2):
        assert [new.token_id for new in ended if new.row == row] == free[row]
    assert {new.row: new.stop for new in ended if new.stop} == {
        0: StopReason.ENDED,
        1: StopReason.LENGTH,
        2: StopReason.LENGTH,
    }


def test_the_token_that_ends_an_answer_is_not_part_of_it(engine: VlmEngine, films: ImageFeatures) -> None:
    for seed in range(40):
        options = GenerationOptions(max_new_tokens=400, seed=seed, temperature=3.0, repetition_penalty=1.0)
        (answer,) = engine.generate([Prompt(question="x", images=films)], options)
        if answer.stop is StopReason.ENDED:
            break
    assert answer.stop is StopReason.ENDED
    assert not set(answer.token_ids) & set(engine.info.stop_ids)
    assert len(answer.token_ids) < 400


def test_a_prompt_without_images_is_answered(engine: VlmEngine) -> None:
    (answer,) = engine.generate([Prompt(question="Hello")], GenerationOptions(max_new_tokens=3))
    assert len(answer.token_ids) == 3


def test_no_prompts_give_no_answers(engine: VlmEngine) -> None:
    assert engine.generate([], GenerationOptions()) == []


def test_ultrasound_goes_the_way_of_films(engine: VlmEngine, films: ImageFeatures) -> None:
    images = list(_arrays("vlm_two_2d")["pixel_values"][:, 0, 0])
    assert np.array_equal(engine.look(images, "2D-Ultrasound").features, films.features)
    assert engine.info.family("2D-Ultrasound").router == 1


@pytest.mark.parametrize(
    ("shape", "modality"), [((30, 80, 80), "3D-CT"), ((80, 80), "3D-CT"), ((1, 80, 80), "2D-CXR"), ((80, 79), "2D-CXR")]
)
def test_an_image_of_another_depth_or_side_is_refused(engine: VlmEngine, shape: tuple[int, ...], modality: str) -> None:
    with pytest.raises(ImageShapeError):
        engine.look([np.zeros(shape, dtype=np.float32)], modality)


def test_images_of_two_shapes_are_refused_naming_the_second(engine: VlmEngine) -> None:
    images = [np.zeros((80, 80), dtype=np.float32), np.zeros((30, 80, 80), dtype=np.float32)]
    with pytest.raises(ImageShapeError) as caught:
        engine.look(images, "2D-CXR")
    assert (caught.value.image, caught.value.got) == (1, "30 x 80 x 80 float32")


def test_an_image_with_nan_or_in_float64_is_refused(engine: VlmEngine) -> None:
    with pytest.raises(ImageShapeError, match="NaN"):
        engine.look([np.full((80, 80), np.nan, dtype=np.float32)], "2D-CXR")
    with pytest.raises(ImageShapeError, match="float64"):
        engine.look([np.zeros((80, 80))], "2D-CXR")  # type: ignore[list-item]


def test_a_modality_that_the_bundle_lacks_is_refused(engine: VlmEngine) -> None:
    with pytest.raises(ModalityNotServedError) as caught:
        engine.look([], "2D-Mammography")
    assert caught.value.modality == "2D-Mammography"


def test_a_prompt_that_cannot_fit_with_its_answer_is_refused(engine: VlmEngine, films: ImageFeatures) -> None:
    prompts = [Prompt(question="x", images=films), Prompt(question="long " * 200, images=films)]
    with pytest.raises(PromptTooLongError) as caught:
        engine.generate(prompts, GenerationOptions())
    assert (caught.value.row, caught.value.max_tokens) == (1, 512)
