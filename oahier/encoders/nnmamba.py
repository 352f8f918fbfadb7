"""The nnMamba classifier: convolutions, one Mamba scan over all voxels, and residual stages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oahier.encoders.base import StagedEncoder
from oahier.encoders.mamba import Mamba
from oahier.encoders.resnet3d import BasicBlock

_SCALES = (2, 4, 8)


class NnMamba(StagedEncoder):
    """Residual network with a state space layer in its stem (Gong et al. 2024, arXiv:2402.03526).

    Two convolutions, the first with stride 2, then every voxel is a token of one Mamba layer (8 states, a
    convolution of 4, twice the channels inside), then three residual stages with stride 2. The averages of
    the three stages together, 14 times ``channels``, are projected to the embedding. With the defaults, the
    12.88 M parameter network of arXiv:2605.00718.

    The scan is linear in the voxels, in 32 bit whatever the autocast, and is computed again in the backward
    pass part by part: see :class:`~oahier.encoders.mamba.Mamba`. Saliency on the last map explains what the
    coarsest stage adds, the finer two held fixed; ``stage=1`` explains all three through the first one.

    Args:
        channels: channels of the stem; the stages have 2, 4 and 8 times as many.
        blocks: residual blocks in each stage.
        num_features: width of the embedding.

    Raises:
        ValueError: an argument below 1.
    """

    def __init__(self, channels: int = 32, blocks: int = 3, num_features: int = 32) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("blocks", blocks), ("num_features", num_features)):
            if value < 1:
                raise ValueError(f"NnMamba: {name} must be at least 1, got {value}")
        self.stem = nn.Sequential(
            *_convolution(1, channels, 3, 2), *_convolution(channels, channels, 3, 1), VoxelMamba(channels)
        )
        widths = [channels, *(scale * channels for scale in _SCALES)]
        self.layers = nn.ModuleList(
            nn.Sequential(
                BasicBlock(before, width, 2, 1, nn.BatchNorm3d),
                *(BasicBlock(width, width, 1, 1, nn.BatchNorm3d) for _ in range(blocks - 1)),
            )
            for before, width in itertools.pairwise(widths)
        )
        self.projection = nn.Linear(sum(widths[1:]), num_features)
        self.num_features = num_features

    def stages(self) -> Sequence[nn.Module]:
        return [self.stem, *self.layers]

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """The averages of the three stages, projected."""
        pooled = torch.cat([item.mean(dim=(2, 3, 4)) for item in features[-len(_SCALES) :]], dim=1)
        embedding: Tensor = self.projection(pooled)
        return embedding


class VoxelMamba(nn.Module):
    """A Mamba layer over the voxels of a map, in the order of the array, between two 1^3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.Sequential(*_convolution(channels, channels, 1, 1))
        self.mamba = Mamba(channels, states=8, kernel=4, expand=2)
        self.after = nn.Sequential(*_convolution(channels, channels, 1, 1))

    def forward(self, volume: Tensor) -> Tensor:
        inner = self.before(volume)
        tokens = inner.flatten(2).transpose(1, 2)
        mixed = self.mamba(tokens).transpose(1, 2).view_as(inner)
        result: Tensor = self.after(mixed + inner) + volume
        return result


def _convolution(channels: int, out_channels: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv3d(channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm3d(out_channels),
        nn.ReLU(inplace=True),
    )
