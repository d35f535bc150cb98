"""Look-up tables of DICOM objects: a LUT or palette item enters, an array of float entries leaves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from models.shared.pixels.errors import PixelError, PixelErrorCode
from models.shared.pixels.guard import attribute


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookupTable:
    """A table as PS3.3 C.11.1.1 and C.11.2.1.1 describe it.

    Attributes
    ----------
    first
        Input value of the first entry; lower inputs get the first entry, inputs past the end the last one.
    entries
        (n,) float64.
    largest_output
        Largest value that the table's bit depth can express.
    """

    first: int
    entries: npt.NDArray[np.float64]
    largest_output: float

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Entries for `values` (any shape, rounded to integers); same shape, float64."""
        index = np.rint(values).astype(np.int64) - self.first
        looked_up: npt.NDArray[np.float64] = self.entries[np.clip(index, 0, self.entries.size - 1)]
        return looked_up


def read_lut(item: Dataset, *, is_little_endian: bool) -> LookupTable:
    """Table of an item of the Modality or VOI LUT Sequence.

    Raises
    ------
    PixelError
        bad-header where descriptor and data do not fit each other.
    """
    return _table(attribute(item, "LUTDescriptor"), attribute(item, "LUTData"), is_little_endian=is_little_endian)


def read_palette(ds: Dataset, colour: str, *, is_little_endian: bool) -> LookupTable:
    """Table of one `colour` (Red, Green, Blue) of the Palette Color Lookup Table Module (PS3.3 C.7.6.3.1.5).

    Raises
    ------
    PixelError
        bad-header where descriptor and data do not fit each other.
    """
    descriptor = attribute(ds, f"{colour}PaletteColorLookupTableDescriptor")
    data = attribute(ds, f"{colour}PaletteColorLookupTableData")
    return _table(descriptor, data, is_little_endian=is_little_endian)


def _table(descriptor: Any, data: Any, *, is_little_endian: bool) -> LookupTable:
    try:
        count, first, bits = (int(value) for value in descriptor)
        entries = _entries(data, (count & 0xFFFF) or 2**16, is_little_endian=is_little_endian)
    except (TypeError, ValueError) as exc:
        raise PixelError(PixelErrorCode.BAD_HEADER, keyword="LUTDescriptor") from exc
    # Some writers understate the depth of the entries; a table may not be brighter than white.
    largest_output = max(2.0 ** min(bits, 16) - 1, float(entries.max()))
    return LookupTable(first=first, entries=entries, largest_output=largest_output)


def _entries(data: Any, count: int, *, is_little_endian: bool) -> npt.NDArray[np.float64]:
    if isinstance(data, bytes | bytearray):
        # 8-bit entries may be packed two to a word or padded to 16 bits each: the length says which.
        dtype = np.dtype("u1") if len(data) < 2 * count else np.dtype("<u2" if is_little_endian else ">u2")
        values = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype=dtype)
    else:
        values = np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
    if not 0 < count <= values.size:
        raise ValueError("fewer LUT entries than the descriptor says")
    return values[:count].astype(np.float64)
