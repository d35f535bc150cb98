import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from operators.domain.ids import InstanceUid, SeriesUid, StudyUid
from operators.priors.candidates import WantedImage
from operators.priors.files import PriorFiles, UnreadableFileError
from tests.support.objects import dx_from_image, save

WANTED = WantedImage(
    study_uid=StudyUid("1.2.1"), series_uid=SeriesUid("1.2.1.1"), instance_uid=InstanceUid("1.2.1.1.1")
)


def store(files: PriorFiles, image: WantedImage, study_uid: str = "1.2.1") -> Path:
    path = files.path_of(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    film = np.zeros((8, 8), dtype=np.uint8)
    ds = dx_from_image(film, StudyInstanceUID=study_uid, SOPInstanceUID=image.instance_uid)
    return save(ds, path)


def test_another_object_than_was_asked_for_is_removed(tmp_path: Path) -> None:
    files = PriorFiles(tmp_path)
    path = store(files, WANTED, study_uid="1.2.2")
    with pytest.raises(UnreadableFileError):
        files.open(WANTED)
    assert not path.exists()


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError):
        PriorFiles(tmp_path).open(WANTED)


def test_purging_removes_what_was_not_used_since_unfinished_files_and_empty_folders(tmp_path: Path) -> None:
    files = PriorFiles(tmp_path)
    now = datetime.now(UTC)
    long_ago = (now - timedelta(days=9)).timestamp()
    old = store(
        files, WantedImage(study_uid=StudyUid("1.3"), series_uid=SeriesUid("1"), instance_uid=InstanceUid("1.3.1"))
    )
    part = old.with_name("tmp1.part")
    part.write_bytes(b"DI")
    used = store(files, WANTED)
    for path in (old, part, used):
        os.utime(path, (long_ago, long_ago))
    files.open(WANTED)
    assert files.purge(now - timedelta(days=7)) == 2
    assert [path.name for path in (tmp_path / "priors").iterdir()] == ["1.2.1"]
    assert files.purge(now - timedelta(days=7)) == 0


def test_purging_a_spool_without_priors_is_nothing(tmp_path: Path) -> None:
    assert PriorFiles(tmp_path).purge(datetime.now(UTC)) == 0
