"""Occlusion: how far a score falls when a block of the volume loses its details."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from typing_extensions import override

from oahier.progress import portion, steps
from oahier.saliency.blur import local_mean
from oahier.saliency.method import ExplainedKnees, SaliencyMethod


class Occlusion(SaliencyMethod):
    """Fall of the score when a block is replaced by its local mean (Zeiler and Fergus 2014, arXiv:1311.2901).

    Blocks tile the volume; the map has a cell for each. The replacement stays inside the anatomy
    (:func:`~oahier.saliency.blur.local_mean`): black blocks are a sign of their own.

    Args:
        blocks: along each axis.
        at_once: occluded volumes that go through the network together.
        both_ways: count a rise as much as a fall.
    """

    needs_grid = False

    def __init__(
        self, blocks: tuple[int, int, int] = (8, 12, 12), *, at_once: int = 16, both_ways: bool = True
    ) -> None:
        self.blocks, self.at_once, self.both_ways = blocks, at_once, both_ways
        self.name = "occlusion"
        self.passes = f"{blocks[0] * blocks[1] * blocks[2]} forward"

    @override
    @torch.no_grad()
    def __call__(self, knees: ExplainedKnees) -> Tensor:
        with torch.inference_mode(False):
            volume = knees.volume.clone()
            maps = []
            for number, one in enumerate(volume.split(1)):
                with portion(number / len(volume), (number + 1) / len(volume)):
                    maps.append(self._of_knee(knees, one))
            return torch.stack(maps)

    def _of_knee(self, knees: ExplainedKnees, volume: Tensor) -> Tensor:
        """The map of one knee: the blocks in the order of its flattened cells."""
        grid = [min(count, size) for count, size in zip(self.blocks, volume.shape[2:], strict=True)]
        cells = torch.arange(grid[0] * grid[1] * grid[2], device=volume.device).view(1, 1, *grid)
        owner = interpolate(cells.double(), size=volume.shape[2:], mode="nearest")
        plain, whole = local_mean(volume), knees.of_volume(volume)
        changes = []
        for some in steps(cells.flatten().split(self.at_once)):
            occluded = torch.where(owner == some.view(-1, 1, 1, 1, 1), plain, volume)
            changes.append(whole - knees.of_volume(occluded))
        change = torch.cat(changes).view(*grid)
        return change.abs() if self.both_ways else change.relu()
