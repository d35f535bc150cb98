"""The papers of an imported bundle: what was stated by others stands in them as text, and doubts are told."""

from datetime import date

from models.importing.facts import ExpertFacts, FamilyFacts, KeyCounts, SourceFacts, WeightFacts, doubts
from models.importing.families import FAMILIES
from models.importing.papers import Paper, license_text, metadata, model_card
from models.importing.request import ImportRequest
from models.shared.vocabulary import load_vocabulary


def expert(number: int, *, initial: int = 0, copy_of: int | None = None) -> ExpertFacts:
    return ExpertFacts(expert=number, layers=4, initial=initial, copy_of=copy_of, spread=1.0)


def paper(*, license_: str = "CC0", experts: tuple[ExpertFacts, ...] = ()) -> Paper:
    request = ImportRequest(name="model", license=license_, imported_on=date(2026, 6, 11))
    weights = WeightFacts(
        keys=KeyCounts(used=3, known_unused=2, unknown=("surprise",)),
        experts=experts,
        betas=2,
        moved_betas=1,
        blank_entities=(7,),
    )
    families = tuple(
        FamilyFacts(
            recipe=recipe,
            input_depth=recipe.input_depth,
            input_side_px=480,
            grid_side=24,
            token_width=512,
            embedding_width=512,
            rerank_top_k=None,
            graphs={},
        )
        for recipe in request.families
    )
    return Paper(
        request=request,
        source=SourceFacts(name="weights.pt", sha256="0" * 64),
        weights=weights,
        families=families,
        versions=dict.fromkeys(("monai", "torch", "numpy", "onnxruntime"), "1"),
        doubts=doubts(weights, families),
    )


def test_a_licence_of_several_lines_stays_in_its_row() -> None:
    card = model_card(paper(license_="first | line\nsecond [line](elsewhere) <b>"), ())
    assert "| licence, as stated | first \\| line second \\[line](elsewhere) &lt;b> |" in card


def test_the_licence_note_says_that_nobody_checked_it() -> None:
    told = paper(license_="CC BY-NC 4.0")
    note = license_text(told.source, told.request)
    assert "CC BY-NC 4.0" in note
    assert "did not check" in note


def test_every_entity_is_served_unmeasured() -> None:
    sections = metadata(paper())["interval"]["families"]
    assert [section["modality"] for section in sections] == list(FAMILIES)
    for section in sections:
        known = load_vocabulary().of_modality(section["modality"])
        assert [(row["index"], row["name"]) for row in section["entities"]] == [(e.index, e.name) for e in known]
        figures = {value for row in section["entities"] for key, value in row.items() if key not in ("index", "name")}
        assert figures == {None}
    assert metadata(paper())["network_data_format"]["inputs"]["3d-ct"]["value_range"] == [-1, 1]


def test_doubts_are_told_of_the_families_that_were_imported() -> None:
    told = paper(
        experts=(expert(0), expert(1, initial=4), expert(2, initial=1), expert(3, initial=4), expert(4, copy_of=1))
    )
    assert told.doubts == (
        "2D-CXR: Expert 1 looks never trained: its weights have the distribution they were drawn from.",
        "3D-Brain-MRI: Expert 2 looks never trained in 1 of its 4 layers.",
        "2D-Ultrasound: Expert 4 is an untrained copy of expert 1.",
        "1 entries are unknown here and were left out: surprise.",
        "1 entities have an empty row in the condition table: 7.",
    )
    card = model_card(told, ())
    assert all(doubt in card for doubt in told.doubts)
    assert "Nothing in the weights speaks against them" not in card
