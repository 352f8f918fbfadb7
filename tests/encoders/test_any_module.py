from __future__ import annotations

from pathlib import Path

import pytest
from miniature.training import Misleading, fit, step
from torch import Tensor, nn

import oahier as oh
from oahier.testing import tiny_batch, tiny_batches

pytestmark = pytest.mark.usefixtures("one_thread")


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(1, 2, 3, stride=2), nn.Conv3d(2, 6, 3, stride=2)

    def forward(self, volume: Tensor) -> list[Tensor]:
        first = self.first(volume)
        return [first, self.second(first)]


PLAIN = {
    "map": (lambda: nn.Sequential(nn.Conv3d(1, 4, 3, stride=2), nn.ReLU()), 4, 1),
    "maps": (Several, 6, 2),
    "embedding": (
        lambda: nn.Sequential(nn.Conv3d(1, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 9)),
        9,
        1,
    ),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_any_module_is_an_encoder(kind: str, tmp_path: Path) -> None:
    make, width, maps = PLAIN[kind]
    model = oh.HierarchicalClassifier(make(), {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()})
    assert model.encoder.num_features == width
    output = step(model, tiny_batch())
    assert output["embedding"].shape == (2, width)
    assert len(output["features"]) == maps
    fit(tmp_path, model, tiny_batches(1))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Flatten(0), r"expected a feature map .*, got a tensor of shape \("),
        (nn.Linear(3, 3), "cannot find the width .* give the module an integer attribute num_features"),
    ],
)
def test_output_that_is_not_understood(module: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        oh.HierarchicalClassifier(module, {"oa": oh.BinaryHead()})


def test_wrong_num_features_is_named() -> None:
    model = oh.HierarchicalClassifier(Misleading(), {"oa": oh.BinaryHead()})
    with pytest.raises(ValueError, match=r"encoder Misleading: expected .* \(batch, 7\).*, got \(2, 4\)"):
        model(tiny_batch()["mri"])


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("resnet18", "Did you mean 'timm3d/resnet18' or 'monai/resnet18'"),
        ("timm3d/resnet81", "timm-3d has no such network. Did you mean .*'resnet18'"),
        ("monai/densenet12", "Did you mean 'densenet121'"),
        ("resnet3", "expected one of resnet3d"),
    ],
)
def test_unknown_encoder_says_what_is_near(encoder: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        oh.HierarchicalClassifier(encoder, {"oa": oh.BinaryHead()})


@pytest.mark.parametrize(
    ("name", "arguments", "layer"),
    [
        ("resnet10", {"n_input_channels": 1, "num_classes": 1}, "fc"),
        ("DenseNet121", {"in_channels": 1, "out_channels": 2}, "class_layers"),
    ],
)
def test_class_scores_are_no_embedding(name: str, arguments: dict[str, int], layer: str) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    network = getattr(nets, name)(spatial_dims=3, **arguments)
    with pytest.raises(ValueError, match=rf"{layer!r} gives \d class scores.*num_features="):
        oh.PlainEncoder(network)
    assert oh.PlainEncoder(network, num_features=7).num_features == 7
    setattr(network, layer, nn.Flatten())
    assert oh.PlainEncoder(network).num_features > 100
