"""Objects as they come: compressed, damaged, absurd, no images at all. The node keeps what it can and lives on."""

from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from operators.receive.part10 import file_preface
from tests.acceptance.wire import CASES, SYNTAXES, Wire, current_picture
from tests.support.objects import dx_from_image, save, text_file, truncated
from tests.support.peers import dcmsend, echoscu, storescu
from tests.support.receiving import data_set_of, send_raw

pytestmark = [pytest.mark.peer, pytest.mark.acceptance]

COMPRESSED = [case.name for case in CASES if case.syntax in SYNTAXES]


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_object_is_kept_as_sent(name: str, wire: Wire) -> None:
    image = wire.detail(name)["comparison"]["current_image"]
    sent, kept = pydicom.dcmread(wire.sent[name]), pydicom.dcmread(image["path"])
    assert sent.file_meta.TransferSyntaxUID.keyword == name
    assert image["header"]["transfer_syntax_uid"] == sent.file_meta.TransferSyntaxUID
    assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert kept.PixelData == sent.PixelData


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_object_is_read_as_the_plain_one(name: str, wire: Wire) -> None:
    def readings(study: str) -> list[tuple[int, str, float]]:
        found = wire.detail(study)["comparison"]["findings"]
        return [(one["entity"]["index"], one["state"], one["current_prob"]) for one in found]

    for found, plain in zip(readings(name), readings("greek"), strict=True):
        assert found[:2] == plain[:2]
        assert found[2] == pytest.approx(plain[2], abs=1e-4)


@pytest.mark.parametrize(("name", "code"), [("absurd", "absurd-size"), ("short", "truncated")])
def test_image_that_cannot_be_read_is_parked_with_its_reason(name: str, code: str, wire: Wire) -> None:
    row = wire.detail(name)["study"]
    assert (row["state"], row["reason_code"]) == ("parked", code)
    assert row["waits_for"].endswith(".")
    assert row["action"].endswith(".")
    assert row["can_retry"]
    assert row["can_discard"]
    assert wire.at_ris(name) == []


def test_text_file_is_refused_by_sender_or_node(wire: Wire, tmp_path: Path) -> None:
    path = text_file(tmp_path / "letter.dcm")
    assert not dcmsend([path], wire.node.peer).all_stored
    preface = file_preface(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        sop_instance_uid="1.2.3",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    path.write_bytes(preface + path.read_bytes())
    before = wire.node.states()
    status, comment = send_raw(path, wire.node.peer)
    assert status & 0xF000 == 0xC000
    assert comment
    assert wire.node.states() == before


def test_truncated_object_is_refused(wire: Wire, tmp_path: Path) -> None:
    whole = save(dx_from_image(current_picture(), seed="wire truncated"), tmp_path / "film.dcm")
    cut = truncated(whole)
    assert len(data_set_of(cut)) < len(data_set_of(whole))
    before = wire.node.states()
    status, comment = send_raw(cut, wire.node.peer)
    assert status & 0xF000 == 0xC000
    assert "ends before" in comment
    assert wire.node.states() == before


def test_image_without_pixels_is_kept_and_opens_nothing(wire: Wire, tmp_path: Path) -> None:
    ds = dx_from_image(current_picture(), seed="wire no pixels")
    del ds.PixelData
    before = wire.node.states()
    assert storescu([save(ds, tmp_path / "bare.dcm")], wire.node.peer).all_stored
    assert wire.node.states() == before
    kept = wire.question("SELECT instance_uid, revision FROM instances WHERE revision = 0")
    assert (ds.SOPInstanceUID, 0) in kept


def test_node_lives_on(wire: Wire) -> None:
    assert echoscu(wire.node.peer)
    health = wire.node.health()
    assert (health["status"], health["database"]) == ("ok", "up")
    assert "role.ended" not in wire.node.log_path.read_text(encoding="utf-8")
