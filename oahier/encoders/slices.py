"""Slices of a volume through a 2D network, and their maps packed into one map with a 3D grid."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oahier.encoders.exported_scan import exporting
from oahier.modes import evaluating
from oahier.specs import build, nearest

_CELL = 8
"""Voxels in a cell of a packed map, along each axis: the output stride of ResNet3D."""


def as_slice_encoder(encoder: nn.Module | str | Mapping[str, Any], channels: int) -> tuple[nn.Module, int]:
    """A network from images ``(batch, channels, height, width)`` to maps, and the number of its channels.

    Args:
        encoder: name of a ResNet of torchvision (without weights; its first convolution is replaced by one
            for ``channels``, its classifier left out), a module, or the serial form of one.
        channels: channels of the images.

    Raises:
        ValueError: an unknown name, or a module that does not make a map of such images.
    """
    if isinstance(encoder, str):
        return _torchvision_resnet(encoder, channels)
    module = build(encoder, nn.Module) if isinstance(encoder, Mapping) else encoder
    with torch.no_grad(), torch.random.fork_rng(devices=[]), evaluating(module):
        parameter = next(module.parameters(), torch.zeros(()))
        image = torch.zeros((1, channels, 64, 64), dtype=parameter.dtype, device=parameter.device)
        try:
            output = module(image)
        except Exception as error:  # a module of anybody's: whatever it raises, it does not fit
            raise ValueError(
                f"M3T: slice_encoder {type(module).__name__} does not work on images of {channels} channels "
                f"and 64x64 pixels: {error}"
            ) from error
    if not isinstance(output, Tensor) or output.ndim != 4:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"M3T: slice_encoder {type(module).__name__} must return a map (batch, channels, height, width), "
            f"got {got}; leave out its pooling and classifier"
        )
    return module, output.shape[1]


def _torchvision_resnet(name: str, channels: int) -> tuple[nn.Module, int]:
    from torchvision.models import ResNet, get_model, get_model_builder, list_models, resnet

    known = [item for item in list_models() if get_model_builder(item).__module__ == resnet.__name__]
    if name not in known:
        raise ValueError(
            f"M3T: slice_encoder {name!r}: expected one of {', '.join(known)}, or a module."
            f"{nearest(name, known)}"
        )
    network = get_model(name, weights=None)
    if not isinstance(network, ResNet):
        raise TypeError(f"torchvision's {name} is no ResNet but {type(network).__name__}")
    first = nn.Conv2d(channels, network.conv1.out_channels, 7, 2, 3, bias=False)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    stem = nn.Sequential(first, network.bn1, network.relu, network.maxpool)
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    return nn.Sequential(stem, *stages), network.fc.in_features


def slice_maps(
    network: nn.Module, volume: Tensor, axis: int, *, slices_at_once: int, recompute: bool
) -> Tensor:
    """Maps ``(batch, slices, channels, height, width)`` of all slices across one axis of a volume.

    At most ``slices_at_once`` go through the network together, each lot spread evenly over the volume so
    that batch normalisation sees all of it.

    Args:
        network: images to maps.
        volume: ``(batch, channels, i, j, k)``.
        axis: 0, 1 or 2.
        slices_at_once: slices of one lot, over the batch (at least one of each volume).
        recompute: keep no activations, compute them again in the backward pass.
    """
    images = volume.movedim(2 + axis, 1)
    batch, count = images.shape[:2]
    lots = 1 if exporting() else min(-(-batch * count // slices_at_once), count)
    maps = []
    for lot in range(lots):
        part = images[:, lot::lots].flatten(0, 1)
        if recompute and torch.is_grad_enabled():
            made = checkpoint(
                network, part, use_reentrant=False,
                context_fn=lambda: (contextlib.nullcontext(), _statistics_kept(network)),
            )  # fmt: skip
        else:
            made = network(part)
        maps.append(made.unflatten(0, (batch, -1)))
    order = torch.cat([torch.arange(lot, count, lots) for lot in range(lots)]).argsort()
    return torch.cat(maps, dim=1)[:, order.to(volume.device)] if lots > 1 else maps[0]


@contextlib.contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Running statistics are counted once, although a slice passes twice."""
    norms = [item for item in network.modules() if isinstance(item, nn.modules.batchnorm._NormBase)]
    before = [{name: item.clone() for name, item in norm.named_buffers()} for norm in norms]
    try:
        yield
    finally:
        with torch.no_grad():
            for norm, buffers in zip(norms, before, strict=True):
                for name, item in norm.named_buffers():
                    item.copy_(buffers[name])


class Packing:
    """How the slice maps of three planes lie in one map, whose cells are about 8 voxels wide.

    Slices of a cell are put behind each other as channels; in its plane a value is repeated. So the mean
    over a plane, all that the tokens of a slice need, is the same as before: nothing is lost.

    Args:
        shape: size of the volume.
        grid: size of the packed map.
    """

    def __init__(self, shape: Sequence[int], grid: Sequence[int]) -> None:
        self.shape, self.grid = tuple(shape), tuple(grid)
        self.depths = [-(-count // cells) for count, cells in zip(shape, grid, strict=True)]

    @classmethod
    def of(cls, shape: Sequence[int], maps: Sequence[Tensor], *, fine: bool) -> Packing:
        """The packing of maps as :func:`slice_maps` makes them; one cell a value if not ``fine``.

        Raises:
            ValueError: the planes disagree on how far an axis is reduced.
        """
        reduced = [maps[1].shape[3], maps[0].shape[3], maps[0].shape[4]]
        found = [tuple(item.shape[3:]) for item in maps]
        expected = [(reduced[1], reduced[2]), (reduced[0], reduced[2]), (reduced[0], reduced[1])]
        if found != expected or 0 in reduced:
            raise ValueError(
                f"M3T: the slice encoder makes maps of {found} of a volume of {tuple(shape)}: expected that "
                "each axis is reduced alike in both planes that it lies in, and not to nothing"
            )
        times = [
            max(1, count // (_CELL * cells)) if fine else 1
            for count, cells in zip(shape, reduced, strict=True)
        ]
        return cls(shape, [cells * more for cells, more in zip(reduced, times, strict=True)])

    def pack(self, maps: Sequence[Tensor]) -> Tensor:
        """Three times ``(batch, slices, channels, height, width)`` to ``(batch, width, *grid)``."""
        return torch.cat([self._pack(item, axis) for axis, item in enumerate(maps)], dim=1)

    def tokens(self, packed: Tensor) -> list[Tensor]:
        """For each plane the slices' means, ``(batch, slices, channels)``."""
        channels = packed.shape[1] // sum(self.depths)
        parts = packed.split([depth * channels for depth in self.depths], dim=1)
        tokens = []
        for axis, part in enumerate(parts):
            means = part.mean(dim=[2 + other for other in range(3) if other != axis])
            slots = means.unflatten(1, (self.depths[axis], channels)).permute(0, 3, 1, 2).flatten(1, 2)
            tokens.append(slots[:, self._slots(axis, packed.device)])
        return tokens

    def _pack(self, maps: Tensor, axis: int) -> Tensor:
        cells, depth = self.grid[axis], self.depths[axis]
        slots = maps.new_zeros(maps.shape[0], cells * depth, *maps.shape[2:])
        slots = slots.index_copy(1, self._slots(axis, maps.device), maps)
        slots = slots.unflatten(1, (cells, depth)).movedim(1, 3).flatten(1, 2)  # batch, width, cells, ...
        packed: Tensor = slots.movedim(2, 2 + axis)
        for other in range(3):
            if other != axis:
                packed = packed.repeat_interleave(self.grid[other] // packed.shape[2 + other], dim=2 + other)
        return packed

    def _slots(self, axis: int, device: torch.device) -> Tensor:
        """The place of each slice: the cell that it lies in, and how many of its slices come before."""
        count, cells, depth = self.shape[axis], self.grid[axis], self.depths[axis]
        index = torch.arange(count, device=device)
        cell = index * cells // count
        first = -(-cell * count // cells)
        slots: Tensor = cell * depth + index - first
        return slots
