"""Whatever headers arrive: every image is accounted for once, and the order of arrival decides nothing."""

from hypothesis import given
from hypothesis import strategies as st

from operators.domain.messages import InstanceHeader
from operators.domain.radiograph import Projection, projection_of
from operators.encode.views import choose_views
from tests.support.comparing import header, study

WORDS = st.text(alphabet="APLRFHTCXES\\_. -", max_size=8)
FACTS = st.fixed_dictionaries(
    {
        "modality": st.sampled_from(["DX", "CR", "MG", "CT", ""]),
        "body_part": st.sampled_from(["CHEST", "", "HAND", "THORAX"]) | WORDS,
        "view_position": st.sampled_from(["PA", "AP", "LL", "", "AP_ERECT", "LATERAL"]) | WORDS,
        "patient_orientation": st.sampled_from(["L\\F", "A\\F", "", "R\\F"]) | WORDS,
        "series_description": st.sampled_from(["", "Chest PA", "Scout"]) | WORDS,
        "image_type": st.sampled_from(["ORIGINAL\\PRIMARY", "DERIVED\\SECONDARY", ""]),
        "presentation_intent": st.sampled_from(["FOR PRESENTATION", "FOR PROCESSING", ""]),
        "content_time": st.sampled_from(["", "101500", "101500.25", "10:16:00"]),
        "instance_number": st.none() | st.integers(0, 9),
        "rows": st.none() | st.integers(0, 4000),
        "columns": st.none() | st.integers(0, 4000),
    }
)


@st.composite
def header_lists(draw: st.DrawFn) -> list[InstanceHeader]:
    facts = draw(st.lists(FACTS, max_size=6))
    return [header(f"1.2.{number}", **each) for number, each in enumerate(facts)]


@given(headers=header_lists(), prefer=st.none() | st.sampled_from(Projection), data=st.data())
def test_every_image_is_a_candidate_or_skipped_and_arrival_decides_nothing(
    headers: list[InstanceHeader], prefer: Projection | None, data: st.DataObject
) -> None:
    choice = choose_views(study(*headers), ("CR", "DX"), prefer=prefer)
    shuffled = choose_views(study(*data.draw(st.permutations(headers))), ("CR", "DX"), prefer=prefer)
    read = [image.header.instance_uid for image in choice.candidates]
    left = [uid for uid, _ in choice.skipped]
    assert sorted(read + left) == sorted(each.instance_uid for each in headers)
    assert read == [image.header.instance_uid for image in shuffled.candidates]
    assert sorted(choice.skipped) == sorted(shuffled.skipped)


@given(headers=header_lists())
def test_no_candidate_says_of_itself_that_it_is_not_frontal_or_not_served(headers: list[InstanceHeader]) -> None:
    for image in choose_views(study(*headers), ("CR", "DX")).candidates:
        assert projection_of(image.header) is not Projection.NOT_FRONTAL
        assert image.header.modality in {"CR", "DX"}
