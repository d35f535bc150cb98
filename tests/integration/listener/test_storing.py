"""The C-STORE listener against real senders: what it is sent is kept as it was sent, once, under the right revision."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from operators.domain.database import Pool
from operators.receive.part10 import file_preface
from tests.support.objects import (
    absurd_size,
    basic_text_sr,
    ct_slice,
    dx_from_image,
    encapsulated_pdf,
    key_objects,
    presentation_state,
    save,
)
from tests.support.peers.dcmtk import dcmsend, echoscu, storescu
from tests.support.receiving import FILM, STUDIES, RunningReceiver, data_set_of, dx_file, only_path, rows, send_raw
from tests.support.transcoding import LOSSLESS_SYNTAXES, LOSSY_SYNTAXES, missing_program, transcoded

pytestmark = pytest.mark.peer
_PROPOSAL = {
    "ImplicitVRLittleEndian": "-xi", "JPEGLosslessSV1": "-xs", "JPEGLSLossless": "-xt", "JPEG2000Lossless": "-xv",
    "RLELossless": "-xr", "DeflatedExplicitVRLittleEndian": "-xd", "ExplicitVRBigEndian": "-xb",
}  # fmt: skip


def test_echo_is_answered(node: RunningReceiver) -> None:
    assert echoscu(node.peer())


def test_an_object_is_a_file_and_a_row_when_success_is_answered(
    node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    path = dx_file(tmp_path)

    assert storescu([path], node.peer(calling="MODALITY1")).all_stored

    (row,) = rows(pool, "SELECT * FROM instances")
    kept = node.spool_root / row["path"]
    assert data_set_of(kept) == data_set_of(path)
    assert (row["revision"], row["calling_ae"], row["size_bytes"]) == (1, "MODALITY1", kept.stat().st_size)
    assert [(revision["revision"], revision["state"]) for revision in rows(pool, STUDIES)] == [(1, "receiving")]
    assert node.parts() == []


@pytest.fixture(scope="module", params=[*LOSSLESS_SYNTAXES, *LOSSY_SYNTAXES], ids=lambda uid: uid.keyword)
def encoded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image in each of the usual transfer syntaxes."""
    if missing := missing_program(request.param):
        pytest.skip(f"{missing} is not installed")
    folder = tmp_path_factory.mktemp("encoded")
    eight_bits = (FILM >> 4).astype(np.uint8)
    return transcoded(save(dx_from_image(eight_bits, seed="ts"), folder / "ts.dcm"), request.param, folder)


def test_a_data_set_is_kept_byte_by_byte_as_sent(encoded: Path, node: RunningReceiver, pool: Pool) -> None:
    assert send_raw(encoded, node.peer())[0] == 0x0000

    kept = only_path(node, pool)
    assert data_set_of(kept) == data_set_of(encoded)
    syntax = pydicom.dcmread(encoded, stop_before_pixels=True).file_meta.TransferSyntaxUID
    assert pydicom.dcmread(kept, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert rows(pool, "SELECT transfer_syntax_uid FROM instances") == [{"transfer_syntax_uid": str(syntax)}]


def test_dcmtk_may_send_every_transfer_syntax(encoded: Path, node: RunningReceiver, pool: Pool) -> None:
    original = pydicom.dcmread(encoded)
    option = _PROPOSAL.get(original.file_meta.TransferSyntaxUID.keyword)

    sent = storescu([encoded], node.peer(), options=[option]) if option else dcmsend([encoded], node.peer())

    assert sent.all_stored, sent.text
    kept = pydicom.dcmread(only_path(node, pool))
    assert kept.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert kept.PixelData == original.PixelData


def test_a_private_storage_class_is_stored(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    preface = file_preface(
        sop_class_uid="1.3.46.670589.5.0.1", sop_instance_uid="1.2.3", transfer_syntax_uid=ExplicitVRLittleEndian
    )
    ds = dx_from_image(FILM, SOPInstanceUID="1.2.3", SOPClassUID="1.3.46.670589.5.0.1")
    path = tmp_path / "private.dcm"
    path.write_bytes(preface + data_set_of(save(ds, tmp_path / "public.dcm")))

    status, _ = send_raw(path, node.peer())

    assert status == 0x0000
    assert rows(pool, "SELECT sop_class_uid FROM instances") == [{"sop_class_uid": "1.3.46.670589.5.0.1"}]


def test_an_object_larger_than_memory_buffers_arrives_whole(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    path = save(ct_slice(seed="big", size_px=4096), tmp_path / "big.dcm")

    assert dcmsend([path], node.peer()).all_stored

    assert data_set_of(only_path(node, pool)) == data_set_of(path)


def test_the_same_object_twice_is_answered_with_success_and_stored_once(
    node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    path = dx_file(tmp_path)
    assert storescu([path], node.peer()).all_stored
    rows(pool, "UPDATE revisions SET state = 'queued' RETURNING 1")

    assert storescu([path], node.peer()).all_stored

    assert len(node.files()) == len(rows(pool, "SELECT 1 FROM instances")) == 1
    assert [(one["revision"], one["state"]) for one in rows(pool, STUDIES)] == [(1, "queued")]
    assert [one.duplicate for one in node.wait_for_stored(2)] == [False, True]


def test_an_object_whose_file_is_gone_is_stored_again(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    path = dx_file(tmp_path)
    assert storescu([path], node.peer()).all_stored
    node.files()[0].unlink()
    rows(pool, "UPDATE revisions SET state = 'done' RETURNING 1")

    assert storescu([path], node.peer()).all_stored

    assert data_set_of(only_path(node, pool)) == data_set_of(path)
    assert [(one["revision"], one["state"]) for one in rows(pool, STUDIES)] == [(1, "done")]


def test_a_corrected_object_takes_the_place_of_the_wrong_one_and_opens_the_next_revision(
    node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    wrong, right = (
        dx_file(tmp_path, patient, SOPInstanceUID="1.2.3.4.5", StudyInstanceUID="1.2.3.4", PatientID=patient)
        for patient in ("WRONG", "RIGHT")
    )
    assert storescu([wrong], node.peer()).all_stored
    rows(pool, "UPDATE revisions SET state = 'done' RETURNING 1")

    for _ in range(2):
        assert storescu([right], node.peer()).all_stored

    assert rows(pool, "SELECT patient_id FROM studies") == [{"patient_id": "RIGHT"}]
    assert [(one["revision"], one["state"]) for one in rows(pool, STUDIES)] == [(1, "done"), (2, "receiving")]
    (row,) = rows(pool, "SELECT path FROM instances")
    assert data_set_of(node.spool_root / row["path"]) == data_set_of(right)
    assert rows(pool, "SELECT value FROM counters WHERE name = 'objects_replaced'") == [{"value": 1}]


def test_a_whole_image_takes_the_place_of_a_damaged_one(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    """Pixel data shorter than the image says are a whole data set: work parks it, and asks for it again."""
    whole = dx_file(tmp_path)
    ds = pydicom.dcmread(whole)
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 4]
    assert storescu([save(ds, tmp_path / "damaged.dcm")], node.peer()).all_stored
    rows(pool, "UPDATE revisions SET state = 'parked' RETURNING 1")

    assert storescu([whole], node.peer()).all_stored

    assert [one["state"] for one in rows(pool, STUDIES)] == ["parked", "receiving"]
    (row,) = rows(pool, "SELECT path FROM instances")
    assert data_set_of(node.spool_root / row["path"]) == data_set_of(whole)


def test_an_image_after_the_closing_opens_the_next_revision(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    study = {"StudyInstanceUID": "1.2.3.4"}
    assert storescu([dx_file(tmp_path, "first", **study)], node.peer()).all_stored
    rows(pool, "UPDATE revisions SET state = 'working' RETURNING 1")

    assert storescu([dx_file(tmp_path, "late", **study)], node.peer()).all_stored

    assert [(one["revision"], one["state"]) for one in rows(pool, STUDIES)] == [(1, "working"), (2, "receiving")]


def test_objects_without_pixels_open_nothing(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    image = dx_from_image(FILM, seed="referenced")
    documents = [basic_text_sr(), key_objects(image), encapsulated_pdf(), presentation_state(image)]
    no_pixels = dx_from_image(FILM, seed="empty")
    del no_pixels.PixelData
    paths = [save(ds, tmp_path / f"{number}.dcm") for number, ds in enumerate([*documents, no_pixels])]

    assert dcmsend(paths, node.peer()).all_stored

    assert rows(pool, STUDIES) == []
    assert [row["revision"] for row in rows(pool, "SELECT revision FROM instances")] == [0] * len(paths)


def test_our_own_document_is_answered_with_success_and_not_stored_again(
    node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    image, report = dx_file(tmp_path), basic_text_sr(seed="ours")
    assert storescu([image], node.peer()).all_stored
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO documents (identity, study_uid, revision, kind, content, sha256) "
            "SELECT %s, study_uid, 1, 'sr', '', '' FROM studies",
            (str(report.SOPInstanceUID),),
        )
    rows(pool, "UPDATE revisions SET state = 'done' RETURNING 1")

    assert storescu([save(report, tmp_path / "sr.dcm")], node.peer()).all_stored

    assert len(node.files()) == 1
    assert [(one["revision"], one["state"]) for one in rows(pool, STUDIES)] == [(1, "done")]
    assert rows(pool, "SELECT value FROM counters WHERE name = 'objects_own'") == [{"value": 1}]


def test_an_object_of_absurd_size_is_taken_as_sent(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    assert storescu([save(absurd_size(), tmp_path / "absurd.dcm")], node.peer()).all_stored

    (row,) = rows(pool, "SELECT header FROM instances")
    assert (row["header"]["rows"], row["header"]["columns"]) == (65535, 65535)


def test_names_in_other_scripts_reach_the_tables(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    greek = dx_file(tmp_path, "greek", SpecificCharacterSet="ISO_IR 126", PatientName="Διονυσιος")
    name = "Yamada^Tarou=山田^太郎"
    japanese = dx_file(tmp_path, "japanese", SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)

    assert storescu([greek, japanese], node.peer()).all_stored

    names = {row["patient_name"] for row in rows(pool, "SELECT patient_name FROM studies")}
    assert names == {"Διονυσιος", name}
