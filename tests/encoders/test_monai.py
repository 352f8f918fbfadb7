from __future__ import annotations

import pytest
import torch
from torch import nn

from oahier.encoders import MonaiEncoder
from oahier.testing import check_encoder

nets = pytest.importorskip("monai.networks.nets", reason="the extra oahier[monai] is not installed")


def _network(name: str) -> tuple[nn.Module, nn.Module]:
    """MONAI's own network with one class, and its classifying layer."""
    if name.startswith("densenet"):
        network = nets.DenseNet121(spatial_dims=3, in_channels=1, out_channels=1)
        return network, network.class_layers.out
    if name.startswith("resnet"):
        network = nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=1)
        return network, network.fc
    network = nets.SEResNet50(spatial_dims=3, in_channels=1, num_classes=1)
    return network, network.last_linear


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "seresnet50"])
def test_logit_is_monais_own(name: str) -> None:
    """With the same weights, classifying our embedding gives MONAI's logit."""
    torch.manual_seed(0)
    network, classifier = _network(name)
    torch.manual_seed(0)
    encoder = MonaiEncoder(name)
    volume = torch.randn(1, 1, 64, 64, 64)
    network.eval(), encoder.eval()
    with torch.no_grad():
        embedding = encoder(volume)
        assert embedding.shape == (1, encoder.num_features)
        torch.testing.assert_close(classifier(embedding), network(volume), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet10"])
def test_contract(name: str) -> None:
    check_encoder(MonaiEncoder(name), (32, 32, 32))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "densenet121", "seresnet50", "seresnext50"])
def test_contract_of_larger_ones(name: str) -> None:
    check_encoder(MonaiEncoder(name), (64, 64, 64))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("densenet12", None, "Did you mean 'densenet121'"),
        ("resnet10", {"colour": 1}, r"'monai/resnet10' cannot be made with options \{'colour': 1\}"),
    ],
)
def test_bad_arguments_are_named(name: str, options: dict[str, int] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MonaiEncoder(name, options)


def test_without_a_classifier_of_its_own() -> None:
    encoder = MonaiEncoder("resnet10", {"feed_forward": False})
    assert encoder.num_features == 512
