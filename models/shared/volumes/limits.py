"""What is accepted as a volume: the limits above which a study is parked rather than guessed at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeLimits:
    """Limits of size, of missing slices and of tilt.

    Attributes
    ----------
    max_voxels
        Voxels of the largest volume that is read (float32: 4 bytes each).
    min_slices
        Slices at different places that a volume needs at least.
    max_gap_mm
        Largest distance between neighbouring slices where slices are missing; one missing slice is always accepted,
        however thick the slices are.
    max_missing_share
        Largest share of the expected slices that may be missing in all.
    max_tilt_deg
        Largest angle between the slices' direction and their normal; CT gantries tilt by up to 30 degrees.
    """

    max_voxels: int = 400_000_000
    min_slices: int = 4
    max_gap_mm: float = 10.0
    max_missing_share: float = 0.1
    max_tilt_deg: float = 35.0


DEFAULT_LIMITS = VolumeLimits()
