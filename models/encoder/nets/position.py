"""Where a token lies: the constant sinusoidal table and the learned continuous position bias."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.shared import positions


def sinusoidal_positions(rows: int, columns: int, width: int) -> Tensor:
    """Interleaved sine and cosine of row, then of column: (rows * columns, width) float32, row-major."""
    return torch.from_numpy(positions.sinusoidal_positions(rows, columns, width).copy())


class ContinuousPositionBias(nn.Module):
    """Attention bias as a small network of the signed logarithmic offset between two tokens of a grid.

    It does not depend on the input, so it is evaluated once per distinct offset (47 * 47 for a 24-grid, not 576 * 576)
    and gathered.
    """

    def __init__(self, *, axes: int, width: int, heads: int) -> None:
        super().__init__()
        self.axes = axes
        self.net = nn.ModuleList(
            (
                nn.Sequential(nn.Linear(axes, width), nn.LeakyReLU(0.1)),
                nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(0.1)),
                nn.Linear(width, heads),
            )
        )

    def forward(self, grid: tuple[int, ...]) -> Tensor:
        """Bias (heads, n, n) between the n row-major cells of `grid`, which has `axes` axes."""
        device = self.net[2].weight.device
        spans = [torch.arange(1 - side, side, device=device) for side in grid]
        offsets = torch.cartesian_prod(*spans).reshape(-1, self.axes).float()
        hidden = offsets.sign() * torch.log(offsets.abs() + 1)
        for layer in self.net:
            hidden = layer(hidden)
        return hidden[_offset_index(grid).to(device)].permute(2, 0, 1)


def _offset_index(grid: tuple[int, ...]) -> Tensor:
    """For each pair of cells of `grid`, the row of its offset in the row-major list of distinct offsets: (n, n)."""
    cells = torch.cartesian_prod(*(torch.arange(side) for side in grid)).reshape(-1, len(grid))
    shifted = cells[:, None, :] - cells[None, :, :] + torch.tensor(grid) - 1
    index = torch.zeros(shifted.shape[:2], dtype=torch.int64)
    for axis, side in enumerate(grid):
        index = index * (2 * side - 1) + shifted[..., axis]
    return index
