"""Real CT slices of four patients: their headers stack, their values are Hounsfield units, their axes are right.

The public data keep one slice of each series, so a series is made of copies of it at further places.
"""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from models.shared.volumes import VolumeError, VolumeErrorCode, input_spec, read_volume, scan_files, volume_input
from tests.support.objects import save, seeded_uid

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "dicom_ct_nysbu"
FILES = sorted(FOLDER.glob("*.dcm"))
pytestmark = pytest.mark.skipif(not FILES, reason="the public CT slices are not beside this checkout")


@pytest.mark.parametrize("path", FILES or [FOLDER], ids=lambda path: path.stem)
def test_a_real_slice_reads_into_a_volume(path: Path, tmp_path: Path) -> None:
    (alone,) = scan_files([path]).series
    with pytest.raises(VolumeError) as caught:
        read_volume(alone.slices, "CT")
    assert caught.value.code is VolumeErrorCode.TOO_FEW_SLICES

    ds = pydicom.dcmread(path)
    x, y, z = (float(value) for value in ds.ImagePositionPatient)
    for number in range(12):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = seeded_uid("copy", str(number))
        ds.ImagePositionPatient = [str(x), str(y), f"{z + 5.0 * number:.3f}"]
        save(ds, tmp_path / f"{number}.dcm")
    (series,) = scan_files(sorted(tmp_path.iterdir())).series
    volume = read_volume(series.slices, "CT")
    assert volume.voxels.shape == (12, ds.Rows, ds.Columns)
    assert volume.notes == ()
    made = volume_input(volume, input_spec("3D-CT", depth=60, side_px=160)).voxels
    shown = made[30]
    assert 0.05 < ((shown >= 0) & (shown < 0.3)).mean() < 0.8
    # low columns are posterior: there the spine is, so the bone lies behind the middle of the body
    columns = np.arange(160)
    body, bone = shown > 0.4, shown > 0.62
    assert (bone * columns).sum() / bone.sum() < (body * columns).sum() / body.sum() - 2
    soft = volume.voxels[(volume.voxels > -150) & (volume.voxels < 150)]
    assert -120 < np.median(soft) < 80
