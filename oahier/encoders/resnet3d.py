"""The 3D ResNet of the study: a 7^3 stem, a max-pool, and dilated last stages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from oahier.encoders.base import StagedEncoder

_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_STRIDES = (1, 2, 1, 1)
_DILATIONS = (1, 1, 2, 4)

Norm = Literal["batch", "group", "instance"]
Shortcut = Literal["projection", "padding"]
_THEIRS = (
    (r"^stem\.0\.", "conv1."), (r"^stem\.1\.", "bn1."), (r"^layers\.0\.1\.", "layer1."),
    (r"^layers\.(\d)\.", lambda found: f"layer{int(found[1]) + 1}."),
    (r"\.norm(\d)\.", r".bn\1."), (r"\.shortcut\.", ".downsample."),
)  # fmt: skip
"""Names of weights here and in the ResNets of torchvision, MONAI and MedicalNet."""


class ResNet3D(StagedEncoder):
    """Residual network with basic blocks and an output stride of 8.

    The last two stages widen their view by dilation instead of striding (Chen et al. 2019, Med3D,
    arXiv:1904.00625), so the coarsest map keeps a grid of an eighth of the volume: fine enough to see
    cartilage. With the defaults, the 33.16 M parameter network of arXiv:2605.00718.

    Args:
        depth: 10, 18 or 34 layers.
        width: channels of the first stage; the embedding has ``8 * width``.
        norm: normalisation; ``"group"`` suits batches of one to four volumes, ``"batch"`` is the paper's.
        shortcut: where a block changes the grid or the channels, a convolution, or the padding with zeros of
            MedicalNet's networks of depth 18 and 34, which have no weights there.

    Raises:
        ValueError: unknown depth, norm or shortcut, or a width that is not a positive multiple of 8.
    """

    def __init__(
        self, depth: int = 18, width: int = 64, norm: Norm = "batch", shortcut: Shortcut = "projection"
    ) -> None:
        super().__init__()
        if shortcut not in get_args(Shortcut):
            raise ValueError(
                f"ResNet3D: shortcut must be one of {list(get_args(Shortcut))}, got {shortcut!r}"
            )
        if depth not in _BLOCKS:
            raise ValueError(f"ResNet3D: depth must be one of {sorted(_BLOCKS)}, got {depth}")
        if width < 8 or width % 8:
            raise ValueError(f"ResNet3D: width must be a positive multiple of 8, got {width}")
        normalise = _normalisation(norm)
        self.stem = nn.Sequential(
            nn.Conv3d(1, width, kernel_size=7, stride=2, padding=3, bias=False),
            normalise(width),
            nn.ReLU(inplace=True),
        )
        channels = width
        layers: list[nn.Module] = []
        for index, (blocks, stride, dilation) in enumerate(
            zip(_BLOCKS[depth], _STRIDES, _DILATIONS, strict=True)
        ):
            out = width * 2**index
            layer = [BasicBlock(channels, out, stride, dilation, normalise, shortcut)]
            layer += [BasicBlock(out, out, 1, dilation, normalise) for _ in range(blocks - 1)]
            layers.append(nn.Sequential(*layer))
            channels = out
        layers[0] = nn.Sequential(nn.MaxPool3d(kernel_size=3, stride=2, padding=1), layers[0])
        self.layers = nn.ModuleList(layers)
        self.num_features = channels
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self) -> Sequence[nn.Module]:
        return [self.stem, *self.layers]

    def native_names(self) -> dict[str, str]:
        found = {}
        for name in self.state_dict():
            theirs = name
            for pattern, replacement in _THEIRS:
                theirs = re.sub(pattern, replacement, theirs)
            found[theirs] = name
        return found


class BasicBlock(nn.Module):
    """Two 3^3 convolutions and a shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        stride: int,
        dilation: int,
        normalise: Callable[[int], nn.Module],
        shortcut: Shortcut = "projection",
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, out_channels, 3, stride, dilation, dilation, bias=False)
        self.norm1 = normalise(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, 1, dilation, dilation, bias=False)
        self.norm2 = normalise(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 1 and channels == out_channels:
            return
        if shortcut == "padding":
            self.shortcut = _Padding(stride, out_channels - channels)
        else:
            self.shortcut = nn.Sequential(
                nn.Conv3d(channels, out_channels, 1, stride, bias=False), normalise(out_channels)
            )

    def forward(self, volume: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(volume)))))
        result: Tensor = self.relu(residual + self.shortcut(volume))
        return result


class _Padding(nn.Module):
    """Every ``stride``-th voxel, with zeros for further channels."""

    def __init__(self, stride: int, further: int) -> None:
        super().__init__()
        self.stride, self.further = stride, further

    def forward(self, volume: Tensor) -> Tensor:
        step = self.stride
        return functional.pad(volume[:, :, ::step, ::step, ::step], (0, 0) * 3 + (0, self.further))


def _normalisation(norm: str) -> Callable[[int], nn.Module]:
    kinds: dict[str, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm3d,
        "group": lambda channels: nn.GroupNorm(8, channels),
        "instance": lambda channels: nn.InstanceNorm3d(channels, affine=True),
    }
    if norm not in kinds:
        raise ValueError(f"ResNet3D: norm must be one of {sorted(kinds)}, got {norm!r}")
    return kinds[norm]
