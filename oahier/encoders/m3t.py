"""M3T: 3D convolutions, a 2D network over the slices of three planes, and a transformer over slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from oahier.encoders.base import Encoder
from oahier.encoders.slices import Packing, as_slice_encoder, slice_maps

_POSITIONS = 128
"""Learned positions along each axis, the slices of the published volumes."""


_PLANES = (1, 0, 2)
"""Axes of an RAS+ volume across which the coronal, sagittal and axial slices lie."""


class M3T(Encoder):
    """Multi-plane and multi-slice transformer (Jang & Hwang, CVPR 2022).

    Two 5^3 convolutions at full size; every slice across each of the three axes through one 2D network;
    two linear layers to a token a slice; the sequence [cls, coronal slices, sep, sagittal, sep, axial, sep]
    with learned position and plane embeddings through a pre-norm transformer; cls is the embedding.
    With the defaults, the 12.03 M parameter network of arXiv:2605.00718. Widths that it does not print are
    chosen to give that number: the first of the two linear layers keeps the width of the slice encoder, and
    the transformer's hidden layer is as wide as a token.

    Volumes may have any shape: positions are learned at 128 places along each axis and interpolated
    linearly to its slices, so a position means a place in the field of view.

    There are two feature maps. The first is that of the 3D convolutions, as fine as the volume. The last
    holds the maps of all slices on one grid with cells of about 8 voxels: see
    :class:`~oahier.encoders.slices.Packing`. Saliency on it costs milliseconds; ``stage=0`` sees single
    voxels and runs the 2D network forwards and backwards. In training mode the last map is not repeated
    onto the finer grid: nothing reads it but :meth:`embed`.

    Args:
        channels: channels of the 3D convolutions.
        slice_encoder: name of a ResNet of torchvision (random weights), or a module that maps ``(slices,
            channels, height, width)`` to maps.
        width: width of a token and of the embedding.
        depth: transformer layers.
        heads: attention heads; the attention is scaled by the root of ``width / heads`` before the softmax.
        slices_at_once: slices that go through the 2D network together; batch normalisation is over them.
        recompute: do not keep the activations of slices for the backward pass, but compute them again:
            memory is bounded by ``slices_at_once`` for a third more time.

    Raises:
        ValueError: a width that is no multiple of the heads, an argument below 1, or a slice encoder that
            is unknown or makes no maps.
    """

    def __init__(
        self,
        channels: int = 16,
        slice_encoder: nn.Module | str | dict[str, Any] = "resnet18",
        width: int = 128,
        depth: int = 4,
        heads: int = 8,
        slices_at_once: int = 128,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        counts = {
            "channels": channels, "width": width, "depth": depth, "heads": heads,
            "slices_at_once": slices_at_once,
        }  # fmt: skip
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"M3T: {name} must be at least 1, got {value}")
        if width % heads:
            raise ValueError(f"M3T: width must be a multiple of heads, got width={width} and heads={heads}")
        self.slices_at_once, self.recompute = slices_at_once, recompute
        self.stem = nn.Sequential(*_convolution(1, channels), *_convolution(channels, channels))
        self.slice_encoder, inner = as_slice_encoder(slice_encoder, channels)
        self.projection = nn.Sequential(nn.Linear(inner, inner), nn.ReLU(), nn.Linear(inner, width))
        self.cls, self.separator = _learned(1, width), _learned(1, width)
        self.planes = _learned(3, width)
        self.positions = _learned(3, _POSITIONS, width)
        self.special_positions = _learned(4, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.num_features = width

    def features(self, volume: Tensor) -> tuple[Tensor, ...]:
        return self.resume(self.stem(volume), 0)

    def resume(self, feature_map: Tensor, stage: int) -> tuple[Tensor, ...]:
        if stage not in (0, -2):
            return super().resume(feature_map, -1 if stage == 1 else stage)
        maps = [
            slice_maps(
                self.slice_encoder, feature_map, axis,
                slices_at_once=self.slices_at_once, recompute=self.recompute,
            )
            for axis in range(3)
        ]  # fmt: skip
        packing = Packing.of(feature_map.shape[2:], maps, fine=not self.training)
        return feature_map, packing.pack(maps)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """Tokens from the packed slices, through the transformer; the cls token after it."""
        tokens = self._tokens(features)
        for block in self.blocks:
            tokens = block(tokens)
        embedding: Tensor = self.norm(tokens[:, 0])
        return embedding

    def attentions(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[slice]]:
        """Attention ``(batch, heads, tokens, tokens)`` of each layer, and the tokens of each axis' slices."""
        tokens, layers = self._tokens(features), []
        for block in cast("Sequence[TransformerBlock]", self.blocks):
            query, key, _ = block.split(block.norm1(tokens))
            layers.append((query @ key.transpose(2, 3) / query.shape[3] ** 0.5).softmax(dim=3))
            tokens = block(tokens)
        counts, start = features[0].shape[2:], 1
        places = [slice(0)] * 3
        for axis in _PLANES:
            places[axis] = slice(start, start + counts[axis])
            start += counts[axis] + 1
        return layers, places

    def _tokens(self, features: Sequence[Tensor]) -> Tensor:
        volume, packed = features[0], features[-1]
        slices = Packing(volume.shape[2:], packed.shape[2:]).tokens(packed)
        return self._sequence([self.projection(item) for item in slices])

    def _sequence(self, slices: Sequence[Tensor]) -> Tensor:
        """Tokens of all planes with embeddings; cls and the first separator take that of the first plane."""
        batch = slices[0].shape[0]
        special = self.special_positions + torch.cat([self.cls, self.separator.expand(3, -1)])
        special = (special + self.planes[[0, 0, 1, 2]]).expand(batch, -1, -1)
        parts = [special[:, :1]]
        for plane, axis in enumerate(_PLANES):
            tokens = slices[axis]
            places = self.positions[plane : plane + 1].transpose(1, 2)
            if tokens.shape[1] != _POSITIONS:
                places = interpolate(places, size=tokens.shape[1], mode="linear", align_corners=False)
            parts.append(tokens + places.transpose(1, 2) + self.planes[plane])
            parts.append(special[:, plane + 1 : plane + 2])
        return torch.cat(parts, dim=1)


class TransformerBlock(nn.Module):
    """Attention and two linear layers, each after a norm and with a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.out(self._attention(self.norm1(tokens)))
        result: Tensor = tokens + self.hidden(self.norm2(tokens))
        return result

    def _attention(self, tokens: Tensor) -> Tensor:
        return scaled_dot_product_attention(*self.split(tokens)).transpose(1, 2).flatten(2)

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``(batch, heads, tokens, width)`` of normalised tokens."""
        split = self.query_key_value(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return split[0], split[1], split[2]


def _learned(*shape: int) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(shape))
    nn.init.trunc_normal_(parameter, std=0.02)
    return parameter


def _convolution(channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv3d(channels, out_channels, 5, padding=2),
        nn.BatchNorm3d(out_channels),
        nn.ReLU(inplace=True),
    )
