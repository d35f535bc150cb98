"""The one copy of volumes: DICOM series and NIfTI files enter; volumes, the model's 3D input and source regions leave.

A study's way: `scan_files` -> `choose_series` -> `read_volume` -> `volume_input` -> the encoder -> `region_on_slices`.
"""

from models.shared.volumes.choice import (
    LEFT_OUT_SENTENCES,
    LeftOut,
    SeriesCandidate,
    SeriesChoice,
    SeriesPreference,
    choose_series,
)
from models.shared.volumes.errors import VolumeError, VolumeErrorCode
from models.shared.volumes.facts import Plane, SeriesFacts
from models.shared.volumes.headers import SliceHeader, slice_headers
from models.shared.volumes.limits import VolumeLimits
from models.shared.volumes.nifti import read_nifti_volume
from models.shared.volumes.placement import Placement, PlaneBox, SliceRegion, cell_box, region_on_slices
from models.shared.volumes.product import VolumeInput, volume_input
from models.shared.volumes.reading import read_volume
from models.shared.volumes.reference import reference_input
from models.shared.volumes.scan import ScannedSeries, ScannedStudy, scan_files
from models.shared.volumes.spec import Family, InputSpec, input_spec
from models.shared.volumes.volume import NoteCode, SliceSource, Volume, VolumeGeometry, VolumeNote

__all__ = [
    "LEFT_OUT_SENTENCES",
    "Family",
    "InputSpec",
    "LeftOut",
    "NoteCode",
    "Placement",
    "Plane",
    "PlaneBox",
    "ScannedSeries",
    "ScannedStudy",
    "SeriesCandidate",
    "SeriesChoice",
    "SeriesFacts",
    "SeriesPreference",
    "SliceHeader",
    "SliceRegion",
    "SliceSource",
    "Volume",
    "VolumeError",
    "VolumeErrorCode",
    "VolumeGeometry",
    "VolumeInput",
    "VolumeLimits",
    "VolumeNote",
    "cell_box",
    "choose_series",
    "input_spec",
    "read_nifti_volume",
    "read_volume",
    "reference_input",
    "region_on_slices",
    "scan_files",
    "slice_headers",
    "volume_input",
]
