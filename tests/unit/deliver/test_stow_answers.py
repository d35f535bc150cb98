import json
from typing import Any

import pytest

from operators.deliver.stow import failure_reason, is_store_answer

OURS, OTHER = "2.25.1", "2.25.2"


def answer(*failures: tuple[str | None, int | None]) -> bytes:
    items: list[dict[str, Any]] = []
    for uid, reason in failures:
        item: dict[str, Any] = {}
        if uid:
            item["00081155"] = {"vr": "UI", "Value": [uid]}
        if reason is not None:
            item["00081197"] = {"vr": "US", "Value": [reason]}
        items.append(item)
    return json.dumps({"00081198": {"vr": "SQ", "Value": items}}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{}",
        b"[]",
        b"null",
        b"stored",
        b'{"00081198": {"vr": "SQ"}}',
        b'{"00081198": {"vr": "SQ", "Value": []}}',
        b'{"00081198": null, "00081199": {"vr": "SQ", "Value": [{}]}}',
    ],
)
def test_answer_without_a_failed_instance_names_no_reason(body: bytes) -> None:
    assert failure_reason(body, OURS) is None


def test_reason_for_our_instance_is_found() -> None:
    assert failure_reason(answer((OTHER, 1), (OURS, 0xC000)), OURS) == 0xC000


def test_failure_of_another_instance_is_not_ours() -> None:
    assert failure_reason(answer((OTHER, 0xC000)), OURS) is None


def test_failure_that_names_no_instance_is_ours() -> None:
    assert failure_reason(answer((None, 0x0110)), OURS) == 0x0110


def test_failure_without_a_reason_is_unknown() -> None:
    assert failure_reason(answer((OURS, None)), OURS) == 0xFFFF


def test_list_of_answers_is_read() -> None:
    assert failure_reason(b"[" + answer((OURS, 0xA700)) + b"]", OURS) == 0xA700


def test_xml_answer_is_read() -> None:
    body = (
        b'<?xml version="1.0"?><NativeDicomModel><DicomAttribute tag="00081198" vr="SQ"><Item number="1">'
        b'<DicomAttribute tag="00081155" vr="UI"><Value number="1">2.25.1</Value></DicomAttribute>'
        b'<DicomAttribute tag="00081197" vr="US"><Value number="1">43264</Value></DicomAttribute>'
        b"</Item></DicomAttribute></NativeDicomModel>"
    )
    assert failure_reason(body, OURS) == 0xA900


def test_xml_answer_with_an_empty_failed_sequence_names_no_reason() -> None:
    body = (
        b'<NativeDicomModel><DicomAttribute tag="00081198" vr="SQ"/><DicomAttribute tag="00081199" vr="SQ">'
        b'<Item number="1"/></DicomAttribute></NativeDicomModel>'
    )
    assert failure_reason(body, OURS) is None


@pytest.mark.parametrize("quote", [b'"', b"'"])
def test_xml_failure_outside_the_failed_sequence_is_read(quote: bytes) -> None:
    body = (
        b'<d:NativeDicomModel xmlns:d="x"><d:DicomAttribute tag="0008119A" vr="SQ"><d:Item number="1">'
        b'<d:DicomAttribute tag="00081197" vr="US"><d:Value number="1">272</d:Value></d:DicomAttribute>'
        b"</d:Item></d:DicomAttribute></d:NativeDicomModel>"
    )
    assert failure_reason(body.replace(b'"', quote), OURS) == 0x0110


def test_failure_outside_the_failed_sequence_is_read() -> None:
    assert failure_reason(answer((None, 0x0110)).replace(b"00081198", b"0008119A"), OURS) == 0x0110


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b'{"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["2.25.1"]}}]}}',
        b'[{"00081190": {"vr": "UR", "Value": ["http://pacs/studies/1"]}}]',
        b'{"00081198": {"vr": "SQ", "Value": []}}',
        b'<?xml version="1.0"?><NativeDicomModel><DicomAttribute tag="00081199" vr="SQ"/></NativeDicomModel>',
        b"<n:NativeDicomModel xmlns:n='x'><n:DicomAttribute vr='UR' tag='00081190'/></n:NativeDicomModel>",
    ],
)
def test_what_an_archive_says_of_a_stored_instance_is_known(body: bytes) -> None:
    assert is_store_answer(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        b"<html>" + b"\xff\xfe" + b"</html>",
        b"stored",
        b"null",
        b"{}",
        b"[]",
        b'"00081199"',
        b'{"error": "sign in", "redirect": "/login"}',
        b'[{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}]',
        b"<NativeDicomModel/>",
        b"[" * 100_000,
    ],
)
def test_what_no_archive_says_of_a_stored_instance_is_told_apart(body: bytes) -> None:
    assert not is_store_answer(body)
