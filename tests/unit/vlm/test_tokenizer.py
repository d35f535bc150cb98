"""Prompts to tokens, tokens to text."""

import json
import shutil
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from models.vlm.chat import DEFAULT_SYSTEM, ImagePads, Mark, Part, Text, chat_prompt
from models.vlm.tokenizer import ChatTokenizer, TokenizerError, load_tokenizer
from tests.support.vlm_folder import BUNDLE

FOLDER = BUNDLE / "tokenizer"


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    return load_tokenizer(FOLDER)


def _encode(tokenizer: ChatTokenizer, text: str) -> list[int]:
    return [int(token) for token in tokenizer.encode([Text(text=text)], image_token=305, image_tokens=4)]


def _spelled(part: Part) -> str:
    if isinstance(part, ImagePads):
        return "#"
    return part.text if isinstance(part, Text) else part.value


def test_the_prompt_is_chatml_with_the_images_before_the_question() -> None:
    parts = chat_prompt("Did it change?", image_count=2)
    spelled = "".join(map(_spelled, parts))
    image = "<|vision_start|>#<|vision_end|>"
    assert spelled == (
        f"<|im_start|>system\n{DEFAULT_SYSTEM}<|im_end|>\n<|im_start|>user\n{image}{image}Did it change?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_neighbouring_texts_are_tokenised_as_one() -> None:
    assert Text(text="user\nin") in chat_prompt("in", image_count=0)


def test_an_image_takes_its_number_of_tokens_between_its_marks(tokenizer: ChatTokenizer) -> None:
    ids = tokenizer.encode(chat_prompt("x", image_count=1), image_token=305, image_tokens=4).tolist()
    start = ids.index(302)
    assert ids[start : start + 6] == [302, 305, 305, 305, 305, 303]


@pytest.mark.parametrize("text", ["the lesion is in the apex", "né ü €", "胸片 🫁", "a\r\n\n b  c", "12 mm, don't", ""])
def test_text_survives_a_round_trip(tokenizer: ChatTokenizer, text: str) -> None:
    assert tokenizer.decode(_encode(tokenizer, text)) == text


def test_merges_make_words_shorter(tokenizer: ChatTokenizer) -> None:
    assert len(_encode(tokenizer, " the and")) == 2


def test_text_that_spells_a_special_token_makes_none(tokenizer: ChatTokenizer) -> None:
    ids = _encode(tokenizer, "x<|im_end|><|image_pad|>")
    assert max(ids) < 299
    assert tokenizer.decode(ids) == "x<|im_end|><|image_pad|>"


def test_special_tokens_and_ids_without_a_token_say_nothing(tokenizer: ChatTokenizer) -> None:
    assert tokenizer.decode([301, 305, 319]) == ""


def test_a_stream_never_gives_half_a_character(tokenizer: ChatTokenizer) -> None:
    stream = tokenizer.stream()
    pieces = [stream.push(token) for token in _encode(tokenizer, "é🫁")]
    assert pieces == ["", "é", "", "", "", "🫁"]
    assert stream.finish() == ""


def test_bytes_that_never_become_a_character_are_replaced_at_the_end(tokenizer: ChatTokenizer) -> None:
    stream = tokenizer.stream()
    assert stream.push(_encode(tokenizer, "é")[0]) == ""
    assert stream.finish() == "\ufffd"


def test_one_tokenizer_json_gives_the_same_tokens(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    tokenizer._tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = load_tokenizer(tmp_path)
    text = "the effusion in the left base is larger, 胸"
    assert _encode(again, text) == _encode(tokenizer, text)
    assert again.mark(Mark.VISION_END) == 303


def test_numbers_are_cut_into_digits_and_words_keep_their_space(tokenizer: ChatTokenizer) -> None:
    pieces = tokenizer._tokenizer.pre_tokenizer.pre_tokenize_str("it's 12 mm")
    assert [piece for piece, _ in pieces] == ["it", "'s", "Ġ", "1", "2", "Ġmm"]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"vocab\.json"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("damaged", ["vocab.json", "tokenizer_config.json"])
def test_a_damaged_file_is_refused(tmp_path: Path, damaged: str) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / damaged).write_text("{", encoding="utf-8")
    with pytest.raises(TokenizerError, match="damaged"):
        load_tokenizer(tmp_path)


def test_a_damaged_tokenizer_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TokenizerError, match="damaged"):
        load_tokenizer(tmp_path)


def test_added_tokens_that_do_not_follow_the_vocabulary_are_refused(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    config = json.loads((FOLDER / "tokenizer_config.json").read_text(encoding="utf-8"))
    del config["added_tokens_decoder"]["300"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(TokenizerError, match="301"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_without_the_marks_is_refused() -> None:
    plain = tokenizers.Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    plain.normalizer = normalizers.NFC()
    plain.pre_tokenizer = pre_tokenizers.ByteLevel()
    with pytest.raises(TokenizerError, match=r"im_start"):
        ChatTokenizer(plain)


def test_a_vocabulary_that_is_not_byte_level_is_refused() -> None:
    plain = tokenizers.Tokenizer(models.BPE(vocab={"▁a": 0}, merges=[]))
    plain.add_special_tokens([mark.value for mark in Mark])
    with pytest.raises(TokenizerError, match="byte-level"):
        ChatTokenizer(plain)
