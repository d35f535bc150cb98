"""What a model card says of a bundle's limits: a card written anew keeps what was measured after training."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from models.encoder.figures import Figure
from models.encoder.train.card import CardFacts, model_card
from models.encoder.train.limits import MeasuredLimits, measured_limits
from models.encoder.train.recipe import Recipe

BUNDLE = Path(__file__).parents[3] / "models/bundles/interval-cxr-small"
SHIPPED_RECIPE = Recipe()


def card(recipe: Recipe = SHIPPED_RECIPE, *, recall: float = 0.43) -> str:
    """Card of a bundle that serves nothing, without its line breaks."""
    figure = Figure(
        task="retrieval", entity="macro", metric="recall@1", value=recall, lo=0.3, hi=0.6, chance=0.25,
        baseline="mean token", baseline_value=0.45, n_patients=86, n_images=125,
    )  # fmt: skip
    facts = CardFacts(recipe=recipe, served=(), rejected=(), macro=(figure,), films={}, patients={})
    return one_line(model_card(facts))


def one_line(text: str) -> str:
    return " ".join(text.split())


def limits_of_the_shipped() -> MeasuredLimits:
    found = measured_limits(SHIPPED_RECIPE.name, SHIPPED_RECIPE.version)
    assert found is not None
    return found


def test_measured_limits_of_the_shipped_bundle_stand_in_its_card_and_in_one_that_is_written_anew() -> None:
    shipped, anew = one_line((BUNDLE / "MODEL_CARD.md").read_text(encoding="utf-8")), card()
    texts = [limit.text for limit in limits_of_the_shipped().limits]
    assert len(texts) == 3
    assert [text for text in texts if text not in shipped or text not in anew] == []


def test_no_limit_of_the_shipped_card_is_lost_when_it_is_written_anew() -> None:
    shipped = one_line((BUNDLE / "MODEL_CARD.md").read_text(encoding="utf-8")).partition("## Limits - ")[2]
    anew = card().partition("## Limits - ")[2].split(" - ")
    assert [limit for limit in shipped.split(" - ") if limit not in anew] == []


def test_measured_limits_name_the_weights_that_are_shipped() -> None:
    assert limits_of_the_shipped().fusion_sha256 == sha256((BUNDLE / "models/fusion.onnx").read_bytes()).hexdigest()


def test_the_shipped_bundle_is_of_the_recipe() -> None:
    metadata = json.loads((BUNDLE / "configs/metadata.json").read_text(encoding="utf-8"))
    assert (metadata["name"], metadata["version"]) == (SHIPPED_RECIPE.name, SHIPPED_RECIPE.version)


def test_a_bundle_of_which_nothing_was_measured_says_so() -> None:
    told = card(replace(SHIPPED_RECIPE, version="9.0.0"))
    assert "nor that of stated changes was measured" in told
    assert limits_of_the_shipped().limits[0].text not in told


@pytest.mark.parametrize(("recall", "is_told"), [(0.44, True), (0.45, True), (0.46, False)])
def test_retrieval_that_is_not_above_its_baseline_is_told(recall: float, is_told: bool) -> None:
    assert (f"(macro {recall:.2f} against 0.45)" in card(recall=recall)) is is_told
