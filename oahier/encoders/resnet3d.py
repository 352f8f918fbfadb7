"""The 3D ResNet of the study: a 7^3 stem, a max-pool, and dilated last stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from oahier.encoders.base import StagedEncoder

_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_STRIDES = (1, 2, 1, 1)
_DILATIONS = (1, 1, 2, 4)

Norm = Literal["batch", "group", "instance"]


class ResNet3D(StagedEncoder):
    """Residual network with basic blocks and an output stride of 8.

    The last two stages widen their view by dilation instead of striding (Chen et al. 2019, Med3D,
    arXiv:1904.00625), so the coarsest map keeps a grid of an eighth of the volume: fine enough to see
    cartilage. With the defaults, the 33.16 M parameter network of arXiv:2605.00718.

    Args:
        depth: 10, 18 or 34 layers.
        width: channels of the first stage; the embedding has ``8 * width``.
        norm: normalisation; ``"group"`` suits batches of one to four volumes, ``"batch"`` is the paper's.

    Raises:
        ValueError: unknown depth or norm, or a width that is not a positive multiple of 8.
    """

    def __init__(self, depth: int = 18, width: int = 64, norm: Norm = "batch") -> None:
        super().__init__()
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
            layer = [BasicBlock(channels, out, stride, dilation, normalise)]
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


class BasicBlock(nn.Module):
    """Two 3^3 convolutions and a shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        stride: int,
        dilation: int,
        normalise: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, out_channels, 3, stride, dilation, dilation, bias=False)
        self.norm1 = normalise(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, 1, dilation, dilation, bias=False)
        self.norm2 = normalise(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv3d(channels, out_channels, 1, stride, bias=False), normalise(out_channels)
            )

    def forward(self, volume: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(volume)))))
        result: Tensor = self.relu(residual + self.shortcut(volume))
        return result


def _normalisation(norm: str) -> Callable[[int], nn.Module]:
    kinds: dict[str, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm3d,
        "group": lambda channels: nn.GroupNorm(8, channels),
        "instance": lambda channels: nn.InstanceNorm3d(channels, affine=True),
    }
    if norm not in kinds:
        raise ValueError(f"ResNet3D: norm must be one of {sorted(kinds)}, got {norm!r}")
    return kinds[norm]
