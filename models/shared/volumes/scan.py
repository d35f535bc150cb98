"""Files of a study enter; its series, each with the facts it is chosen by and the headers of its slices, leave.

Headers alone are read. What cannot be read is named, never dropped in silence.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from models.shared.pixels import PixelError, PixelErrorCode, read_file_header
from models.shared.pixels.guard import attribute, sequence_items
from models.shared.volumes.facts import Plane, SeriesFacts
from models.shared.volumes.headers import SliceHeader, float_of, slice_headers, whole_of, words_in
from models.shared.volumes.stacking import normal_of

_PLANES = (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)  # by the patient's axis (x, y, z) nearest to the normal
_SMALLEST_COSINE = 0.8
_SAME_PLACE_MM = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedSeries:
    """One series: what it is chosen by, and the headers of its frames for `read_volume`."""

    facts: SeriesFacts
    slices: tuple[SliceHeader, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedStudy:
    """The series of a study in the order of their UIDs, and the files whose header cannot be read, with the reason."""

    series: tuple[ScannedSeries, ...]
    unreadable: tuple[tuple[Path, PixelErrorCode], ...]


def scan_files(paths: Iterable[Path]) -> ScannedStudy:
    """Read the headers of a study's files and group them by series. Objects without rows (SR, KO, PR) are passed over.

    Raises
    ------
    OSError
        A file cannot be opened or read.
    """
    found: dict[str, list[tuple[Dataset, tuple[SliceHeader, ...]]]] = defaultdict(list)
    unreadable: list[tuple[Path, PixelErrorCode]] = []
    for path in paths:
        try:
            ds = read_file_header(path)
            if not attribute(ds, "Rows"):
                continue
            found[str(attribute(ds, "SeriesInstanceUID") or "")].append((ds, slice_headers(ds, path)))
        except PixelError as exc:
            unreadable.append((path, exc.code))
    series = tuple(_scanned(uid, found[uid]) for uid in sorted(found))
    return ScannedStudy(series=series, unreadable=tuple(unreadable))


def _scanned(uid: str, images: Sequence[tuple[Dataset, tuple[SliceHeader, ...]]]) -> ScannedSeries:
    slices = tuple(header for _, headers in images for header in headers)
    return ScannedSeries(facts=series_facts(uid, images[0][0], slices), slices=slices)


def series_facts(uid: str, ds: Dataset, slices: Sequence[SliceHeader]) -> SeriesFacts:
    """Facts of a series: texts of one of its objects, geometry of all its slices.

    Raises
    ------
    PixelError
        bad-header where an attribute cannot be read.
    """
    shown = [header for header in slices if not header.is_localizer] or list(slices)
    image_type = Counter(header.image_type for header in shown).most_common(1)[0][0]
    plane, positions_mm = _placed([header for header in shown if header.has_geometry])
    thickness_mm = [header.thickness_mm for header in shown if header.thickness_mm]
    return SeriesFacts(
        series_uid=uid,
        series_number=whole_of(ds, "SeriesNumber"),
        modality=_text(ds, "Modality"),
        description=_text(ds, "SeriesDescription"),
        protocol=_text(ds, "ProtocolName"),
        study_description=_text(ds, "StudyDescription"),
        body_part=_text(ds, "BodyPartExamined"),
        image_type=image_type,
        slice_count=positions_mm.size,
        plane=plane,
        thickness_mm=float(np.median(thickness_mm)) if thickness_mm else None,
        slice_spacing_mm=float(np.median(np.diff(positions_mm))) if positions_mm.size > 1 else None,
        extent_mm=float(positions_mm[-1] - positions_mm[0]) if positions_mm.size else None,
        kernel=_kernel(ds),
        contrast_agent=bool(attribute(ds, "ContrastBolusAgent") or sequence_items(ds, "ContrastBolusAgentSequence")),
        sequence_name=f"{_text(ds, 'SequenceName')} {_text(ds, 'PulseSequenceName')}".strip(),
        scanning_sequence=words_in(attribute(ds, "ScanningSequence")),
        echo_ms=shown[0].echo_ms,
        repetition_ms=float_of(ds, "RepetitionTime"),
        inversion_ms=float_of(ds, "InversionTime"),
        b_value=shown[0].b_value,
    )


def _placed(headers: Sequence[SliceHeader]) -> tuple[Plane, np.ndarray]:
    """Plane of most slices, and the distinct places of all of them along the normal of the first, in mm."""
    if not headers:
        return Plane.UNKNOWN, np.empty(0)
    normals = np.stack([normal_of(header) for header in headers])
    axes = [
        _PLANES[int(np.abs(normal).argmax())] if np.abs(normal).max() >= _SMALLEST_COSINE else Plane.OBLIQUE
        for normal in normals
    ]
    plane = Counter(axes).most_common(1)[0][0]
    along_mm = np.sort([np.array(header.position_lps_mm) @ normals[axes.index(plane)] for header in headers])
    apart = np.append(True, np.diff(along_mm) > _SAME_PLACE_MM)
    return plane, along_mm[apart]


def _kernel(ds: Dataset) -> str:
    for holder in (ds, *sequence_items(ds, "SharedFunctionalGroupsSequence")[:1]):
        inner = [*sequence_items(holder, "CTReconstructionSequence")[:1], holder]
        for item in inner:
            if words := words_in(attribute(item, "ConvolutionKernel")):
                return "\\".join(words)
    return ""


def _text(ds: Dataset, keyword: str) -> str:
    return str(attribute(ds, keyword) or "").strip()
