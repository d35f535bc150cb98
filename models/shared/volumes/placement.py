"""A place in a volume input enters; the source slice that shows it, and the box on that image, leave."""

from dataclasses import dataclass

import numpy as np

from models.shared.volumes.volume import SliceSource, VolumeGeometry


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisPlacement:
    """One axis of the input on one axis of the volume.

    The edge u of the input (0 is the outer edge of its first voxel) lies at `start_mm` + u * `step_mm`, counted along
    `source_axis` of the volume from the centre of that axis' first sample.
    """

    source_axis: int
    start_mm: float
    step_mm: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Where a volume input lies on the slices it was made of. Holds no voxels.

    Attributes
    ----------
    shape
        (depth, side, side) of the input.
    axes
        Of the input's slices, rows and columns.
    geometry
        Of the volume as read.
    """

    shape: tuple[int, int, int]
    axes: tuple[AxisPlacement, AxisPlacement, AxisPlacement]
    geometry: VolumeGeometry

    def point_lps_mm(self, point: tuple[float, float, float]) -> tuple[float, float, float]:
        """Place in the patient of a point of the input in edges (slices, rows, columns): voxel i is i .. i + 1."""
        place = self.geometry.origin_lps_mm.copy()
        for axis, edge in zip(self.axes, point, strict=True):
            place += self.geometry.axes_lps[axis.source_axis] * (axis.start_mm + edge * axis.step_mm)
        x, y, z = place.tolist()
        return (x, y, z)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneBox:
    """Box on the input's plane in fractions of its width and height, from the left and the top, as EvidenceRegion's."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRegion:
    r"""A box on one source image.

    `slice_index` counts the volume's slices; `source` names the image (None for a volume that came of no DICOM object).
    Edges are in pixels as Graphic Data (0070,0022) wants them: 0\0 is the top left corner of the top left pixel,
    Columns\Rows the bottom right corner of the last one (PS3.3 C.18.6.1.1).
    """

    slice_index: int
    source: SliceSource | None
    left_px: float
    top_px: float
    right_px: float
    bottom_px: float


def cell_box(row: int, column: int, grid_side: int) -> PlaneBox:
    """Box of one cell of the model's grid of `grid_side` x `grid_side` cells over the input's plane."""
    return PlaneBox(x=column / grid_side, y=row / grid_side, width=1 / grid_side, height=1 / grid_side)


def region_on_slices(placement: Placement, box: PlaneBox) -> SliceRegion | None:
    """Show a box of the input's plane on one source image.

    The model's map has no slices: a cell speaks of the whole depth that the input shows. The image shown is therefore
    the middle one of the slices that cross the box within that depth, and the region is the box as that image shows
    it. Where the source images are not axial, that is a band through the image. None: the box lies on padding alone.
    """
    depth, height, width = placement.shape
    edges = (
        (0.0, float(depth)),
        (box.y * height, (box.y + box.height) * height),
        (box.x * width, (box.x + box.width) * width),
    )
    spans: list[tuple[float, float]] = [(0.0, 0.0)] * 3
    for axis, (first, last) in zip(placement.axes, edges, strict=True):
        span = _clipped(placement.geometry, axis, first, last)
        if span is None:
            return None
        spans[axis.source_axis] = span
    return _on_slice(placement.geometry, spans)


def _clipped(geometry: VolumeGeometry, axis: AxisPlacement, first: float, last: float) -> tuple[float, float] | None:
    """Part of the volume's axis that input edges `first` to `last` cover, in mm from its first sample's centre."""
    low, high = sorted((axis.start_mm + first * axis.step_mm, axis.start_mm + last * axis.step_mm))
    half_mm = geometry.spacing_mm[axis.source_axis] / 2
    if axis.source_axis == 0:
        last_mm = float(geometry.slice_positions_mm[-1])
    else:
        last_mm = (geometry.shape[axis.source_axis] - 1) * geometry.spacing_mm[axis.source_axis]
    low, high = max(low, -half_mm), min(high, last_mm + half_mm)
    return (low, high) if high - low > 1e-6 * half_mm else None


def _on_slice(geometry: VolumeGeometry, spans: list[tuple[float, float]]) -> SliceRegion | None:
    middle_mm = sum(spans[0]) / 2
    index = int(np.abs(geometry.slice_positions_mm - middle_mm).argmin())
    row_mm, column_mm = geometry.pixel_spacing_mm
    row_shift, column_shift = geometry.source_shift_px[index].tolist()
    top, bottom = (_inside(edge / row_mm + 0.5 + row_shift, geometry.shape[1]) for edge in spans[1])
    left, right = (_inside(edge / column_mm + 0.5 + column_shift, geometry.shape[2]) for edge in spans[2])
    if bottom <= top or right <= left:
        return None
    source = geometry.sources[index] if geometry.sources else None
    return SliceRegion(slice_index=index, source=source, left_px=left, top_px=top, right_px=right, bottom_px=bottom)


def _inside(edge_px: float, size: int) -> float:
    return min(max(edge_px, 0.0), float(size))
