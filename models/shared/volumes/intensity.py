"""Values of a volume enter, values as the model was trained on leave: CT by a fixed window, MR by its percentiles."""

import numpy as np
from numpy.typing import NDArray

CT_LOW_HU, CT_HIGH_HU = -1000.0, 1000.0
_MRI_PERCENTILES = (1.0, 99.0)


def scaled_ct(values_hu: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clip Hounsfield units to -1000 .. 1000 and map them linearly to [0, 1]. Same shape."""
    scaled: NDArray[np.float64] = (np.clip(values_hu, CT_LOW_HU, CT_HIGH_HU) - CT_LOW_HU) / (CT_HIGH_HU - CT_LOW_HU)
    return scaled


def scaled_mri(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip to the 1st and 99th percentile of the positive voxels and map those to [0, 1]. Same shape.

    A volume without a positive voxel is returned as it is; one whose two percentiles are equal becomes all zeros.
    """
    positive = values[values > 0]
    if positive.size == 0:
        return values
    low, high = np.percentile(positive, _MRI_PERCENTILES)
    if high <= low:
        return np.zeros_like(values)
    scaled: NDArray[np.float32] = ((np.clip(values, low, high) - low) / (high - low)).astype(np.float32)
    return scaled
