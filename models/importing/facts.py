"""What an import found out about a checkpoint, as values that its papers and its report are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.importing.families import FamilyRecipe
from models.importing.selftest_data import Deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertFacts:
    """What the weights of one expert say of its training, over all its layers.

    `initial` counts the layers whose matrices still have the flat distribution that they were drawn from (and, where
    the expert has a norm, whose norm was never moved); `copy_of` is an expert whose weights are the very same.
    """

    expert: int
    layers: int
    initial: int
    copy_of: int | None
    spread: float

    @property
    def verdict(self) -> str:
        """In one or two words."""
        if self.initial == self.layers:
            return "never trained"
        if self.copy_of is not None:
            return f"copy of {self.copy_of}"
        return "trained in part" if self.initial else "trained"

    @property
    def doubt(self) -> str | None:
        """What an admin should know before the expert is used; None where nothing speaks against it."""
        if self.initial == self.layers:
            return f"Expert {self.expert} looks never trained: its weights have the distribution they were drawn from."
        if self.copy_of is not None:
            return f"Expert {self.expert} is an untrained copy of expert {self.copy_of}."
        if self.initial:
            return f"Expert {self.expert} looks never trained in {self.initial} of its {self.layers} layers."
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCounts:
    """Entries of the checkpoint by what became of them; the unknown are named."""

    used: int
    known_unused: int
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """What the weights tell.

    `moved_betas` counts the stored `beta` buffers that are not zero, of `betas`. `blank_entities` are rows of the
    condition table that are all zeros although the vocabulary has an entity there.
    """

    keys: KeyCounts
    experts: tuple[ExpertFacts, ...]
    betas: int
    moved_betas: int
    blank_entities: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFacts:
    """One family as it was exported; `graphs` are names in the bundle, `rerank_top_k` None without a reranker."""

    recipe: FamilyRecipe
    input_depth: int
    input_side_px: int
    grid_side: int
    token_width: int
    embedding_width: int
    rerank_top_k: int | None
    graphs: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """Where a bundle came from."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFacts:
    """What the self-test of one family measured: the graphs in ONNX Runtime against the checkpoint in torch."""

    __test__ = False

    modality: str
    deviations: tuple[Deviation, ...]


def doubts(weights: WeightFacts, families: tuple[FamilyFacts, ...]) -> tuple[str, ...]:
    """Sentences for an admin on what speaks against the weights, of the families that were imported."""
    routers = {family.recipe.router: family.recipe.modality for family in families}
    said = [
        f"{routers[expert.expert]}: {expert.doubt}"
        for expert in weights.experts
        if expert.expert in routers and expert.doubt is not None
    ]
    if weights.keys.unknown:
        shown = ", ".join(weights.keys.unknown[:3])
        said.append(f"{len(weights.keys.unknown)} entries are unknown here and were left out: {shown}.")
    if weights.blank_entities:
        rows = ", ".join(map(str, weights.blank_entities[:5]))
        said.append(f"{len(weights.blank_entities)} entities have an empty row in the condition table: {rows}.")
    return tuple(said)
