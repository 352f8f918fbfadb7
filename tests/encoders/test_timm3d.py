from __future__ import annotations

import pytest
import torch

from oahier.encoders import Timm3dEncoder
from oahier.testing import check_encoder

FAMILIES = ["resnet18", "convnext_atto", "densenet121", "efficientnet_b0", "vgg11"]


@pytest.mark.parametrize("name", FAMILIES)
def test_last_map_and_embedding_are_timms_own(name: str) -> None:
    torch.manual_seed(0)
    encoder = Timm3dEncoder(name).eval()
    volume = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        features = encoder.features(volume)
        expected = encoder.network.forward_features(volume)
        torch.testing.assert_close(features[-1], expected)
        embedding = encoder(volume)
        if hasattr(encoder.network, "forward_head"):
            pooled = encoder.network.forward_head(expected, pre_logits=True).reshape(1, -1)
        else:
            pooled = encoder.network(volume)  # timm-3d's DenseNets without a classifier end in the pooling
        torch.testing.assert_close(embedding, pooled)
    assert embedding.shape == (1, encoder.num_features)
    assert len(features) == {"resnet18": 5, "convnext_atto": 5}.get(name, 1)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "efficientnet_b0"])
def test_contract(name: str) -> None:
    check_encoder(Timm3dEncoder(name), (64, 64, 64) if name == "efficientnet_b0" else (64, 32, 32))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "vgg11", "seresnet18", "mobilenetv2_100"])
def test_contract_of_larger_ones(name: str) -> None:
    import timm_3d

    if name not in timm_3d.list_models():
        pytest.skip(f"this timm-3d has no {name}")
    check_encoder(Timm3dEncoder(name), (64, 64, 64))


def test_vgg_has_no_fully_connected_head() -> None:
    encoder = Timm3dEncoder("vgg11")
    assert sum(item.numel() for item in encoder.parameters()) < 30e6
    assert encoder.num_features == 512
    for name, value in encoder.state_dict().items():
        assert value.isfinite().all(), name
        assert value.device.type == "cpu"


def test_options_reach_the_network() -> None:
    assert Timm3dEncoder("resnet18", {"drop_rate": 0.3}).network.drop_rate == 0.3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", None, r"timm-3d has no such network\. Did you mean .*'resnet18'"),
        ("resnet18", {"colour": 1}, r"'timm3d/resnet18' cannot be made with options \{'colour': 1\}"),
    ],
)
def test_bad_arguments_are_named(name: str, options: dict[str, int] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Timm3dEncoder(name, options)


def test_pretrained_points_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm-3d says that huggingface_hub is not installed where its version is too new."""
    import timm_3d

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Hugging Face hub model specified but package not installed")

    monkeypatch.setattr(timm_3d, "create_model", refuse)
    with pytest.raises(
        ValueError, match=r"older versions .* load it with oahier.callbacks.PretrainedWeights"
    ):
        Timm3dEncoder("resnet18", {"pretrained": True})
