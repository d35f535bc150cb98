"""Blocks of MLLP."""

import pytest

from operators.domain.hl7.framing import BlockBuffer, BlockTooLargeError, block

MOST_BYTES = 1 << 12


def test_blocks_are_found_in_single_bytes_and_with_noise_between() -> None:
    stream = b"noise" + block(b"one") + b"\r\n" + block(b"two") + block(b"three")
    buffer = BlockBuffer(MOST_BYTES)

    found = [content for byte in stream for content in buffer.feed(bytes([byte]))]

    assert found == [b"one", b"two", b"three"]


def test_several_blocks_in_one_portion_are_all_found() -> None:
    assert BlockBuffer(MOST_BYTES).feed(block(b"one") + block(b"two") + b"\x0bthr") == [b"one", b"two"]


def test_endless_block_is_refused() -> None:
    buffer = BlockBuffer(MOST_BYTES)

    assert buffer.feed(b"\x0b" + b"x" * (MOST_BYTES - 1)) == []
    with pytest.raises(BlockTooLargeError):
        buffer.feed(b"x")


@pytest.mark.parametrize("message", [b"a\x0bb", b"a\x1cb"])
def test_message_with_a_delimiter_of_the_block_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match="delimiter"):
        block(message)


def test_block_that_begins_again_was_cut_off() -> None:
    assert BlockBuffer(MOST_BYTES).feed(b"\x0bMSH|cut" + block(b"whole")) == [b"whole"]


def test_whole_block_that_is_too_large_is_refused_with_its_beginning() -> None:
    with pytest.raises(BlockTooLargeError) as refused:
        BlockBuffer(8).feed(block(b"MSH|^~") + block(b"123456789"))
    assert refused.value.beginning == b"12345678"


def test_buffer_tells_whether_a_block_has_begun() -> None:
    buffer = BlockBuffer(MOST_BYTES)
    states = [(buffer.feed(portion), buffer.is_inside)[1] for portion in (b"\r\n", b"\x0bM", b"SH\x1c", b"\r")]
    assert states == [False, True, True, False]
