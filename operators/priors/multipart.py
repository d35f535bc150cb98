"""A WADO-RS answer enters as it arrives, its one DICOM object leaves to a file; nothing is held but the last chunk."""

from typing import IO

import requests
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from operators.domain.errors import PermanentError, TransientError
from operators.domain.reasons import ReasonCode

_CHUNK_BYTES = 1 << 18


def save_object(response: requests.Response, sink: IO[bytes]) -> None:
    """Write the first part of a multipart/related answer, or a bare application/dicom one (PS3.18 8.7.1), to `sink`.

    Raises
    ------
    TransientError
        PACS_AWAY: the answer ends before the object does.
    PermanentError
        PACS_REFUSED: the answer is of another type, or no multipart message.
    """
    media_type, options = parse_options_header(response.headers.get("Content-Type", ""))
    chunks = response.iter_content(_CHUNK_BYTES)
    if media_type.lower() == b"application/dicom":
        for chunk in chunks:
            sink.write(chunk)
        return
    if media_type.lower() != b"multipart/related" or not options.get(b"boundary"):
        raise PermanentError(ReasonCode.PACS_REFUSED, kind="answer is not multipart/related")
    part = _FirstPart(sink)
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {"on_part_begin": part.begin, "on_part_data": part.write, "on_part_end": part.end},
        )
        for chunk in chunks:
            parser.write(chunk)
    except FormParserError as exc:
        raise PermanentError(ReasonCode.PACS_REFUSED, kind="answer is not a multipart message") from exc
    if part.ended == 0:
        raise TransientError(ReasonCode.PACS_AWAY, kind="answer cut short")


class _FirstPart:
    """Passes the first part on and counts the parts that ended."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._begun = 0
        self.ended = 0

    def begin(self) -> None:
        self._begun += 1

    def write(self, data: bytes, start: int, end: int) -> None:
        if self._begun == 1:
            self._sink.write(memoryview(data)[start:end])

    def end(self) -> None:
        self.ended += 1
