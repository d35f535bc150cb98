import pytest

from operators.report.typeface import BOLD, FALLBACK, REGULAR, font_runs, in_visual_order, markup, person_name


@pytest.mark.parametrize("text", ["Ångström Žofie", "Παπαδόπουλος Γιώργος", "Достоевский", "≥ 5 mm"])
def test_letters_of_the_main_font_make_one_run(text: str) -> None:
    assert font_runs(text) == [(REGULAR, text)]


def test_mixed_name_is_split_by_font() -> None:
    assert font_runs("Yamada 山田 김 w") == [
        (REGULAR, "Yamada "),
        (FALLBACK, "山田"),
        (REGULAR, " "),
        (FALLBACK, "김"),
        (REGULAR, " w"),
    ]


def test_bold_text_uses_the_bold_font_where_there_is_one() -> None:
    assert font_runs("a山", bold=True) == [(BOLD, "a"), (FALLBACK, "山")]


def test_character_that_no_font_knows_stays_with_the_main_font() -> None:
    assert font_runs("กa") == [(REGULAR, "กa")]


def test_markup_cannot_be_smuggled_in_by_a_name() -> None:
    assert "&lt;b&gt;O&amp;M" in markup("<b>O&M")


def test_right_to_left_words_are_turned_for_drawing() -> None:
    assert in_visual_order("Cohen כהן 1") == "Cohen ןהכ 1"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou  山田 太郎  やまだ たろう"),
        ("Müller^Anna^Maria^Dr.", "Müller, Anna Maria Dr."),
        ("Cher", "Cher"),
        ("山田^太郎", "山田 太郎"),
        ("=山田^太郎", "山田 太郎"),
        ("", ""),
        ("^", ""),
    ],
)
def test_person_names_read_as_people_write_them(value: str, read: str) -> None:
    assert person_name(value) == read
