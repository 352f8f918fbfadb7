from __future__ import annotations

import pytest
import torch
from torch import nn

from oahier.encoders import ResNet3D
from oahier.testing import check_encoder


@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_contract(norm: str) -> None:
    check_encoder(ResNet3D(10, 8, norm=norm), (24, 32, 16))


@pytest.mark.parametrize("depth", [18, 34])
def test_contract_of_deeper_ones(depth: int) -> None:
    check_encoder(ResNet3D(depth, 8), (16, 16, 16))


def test_published_number_of_parameters() -> None:
    """33.16 M, as printed in arXiv:2605.00718."""
    encoder = ResNet3D()
    assert f"{sum(item.numel() for item in encoder.parameters()) / 1e6:.2f}" == "33.16"
    assert encoder.num_features == 512


def test_output_stride_is_eight_with_dilation_beyond() -> None:
    encoder = ResNet3D(18, 8)
    with torch.no_grad():
        maps = encoder.features(torch.zeros(1, 1, 32, 48, 64))
    assert [tuple(item.shape[1:]) for item in maps] == [
        (8, 16, 24, 32), (8, 8, 12, 16), (16, 4, 6, 8), (32, 4, 6, 8), (64, 4, 6, 8),
    ]  # fmt: skip
    dilations = [item.dilation[0] for item in encoder.modules() if isinstance(item, nn.Conv3d)]
    assert max(dilations) == 4
    assert {stage[-1].conv2.dilation for stage in encoder.layers[2:]} == {(2, 2, 2), (4, 4, 4)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 50}, r"depth must be one of \[10, 18, 34\], got 50"),
        ({"width": 12}, "width must be a positive multiple of 8, got 12"),
        ({"width": 0}, "width must be a positive multiple of 8, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNet3D(**arguments)
