"""Any network of timm-3d by name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from oahier.encoders.base import StagedEncoder
from oahier.specs import nearest

_HOW_PRETRAINED = (
    ". timm-3d itself loads with older versions of huggingface_hub only, and again whenever the network is "
    "made: save the weights of timm's network of that name to a file and load it with "
    "oahier.callbacks.PretrainedWeights, which inflates them"
)


class Timm3dEncoder(StagedEncoder):
    """A timm-3d network as an encoder; every stage of ResNets and ConvNeXts can be looked at.

    Args:
        name: as in ``timm_3d.list_models()``, for instance ``"resnet18"`` or ``"convnext_atto"``.
        options: passed to ``timm_3d.create_model`` (``drop_rate``, ``img_size``, ...).

    Raises:
        ValueError: unknown name (the nearest ones are given), or options that the network refuses.
    """

    def __init__(self, name: str, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        timm_3d = _import_timm_3d()
        known = timm_3d.list_models()
        if name not in known:
            raise ValueError(
                f"encoder 'timm3d/{name}': timm-3d has no such network.{nearest(name, known)} "
                f"timm_3d.list_models() gives all {len(known)} names"
            )
        try:
            network = _create(name, options or {})
        except (TypeError, AttributeError, AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"encoder 'timm3d/{name}' cannot be made with options {options}: {error}"
                + (_HOW_PRETRAINED if (options or {}).get("pretrained") else "")
            ) from error
        self.network = network
        self.num_features = int(network.num_features)

    def stages(self) -> Sequence[nn.Module]:
        network = self.network
        if all(hasattr(network, part) for part in ("conv1", "bn1", "act1", "maxpool", "layer4")):
            stem = nn.Sequential(network.conv1, network.bn1, network.act1)
            first = nn.Sequential(network.maxpool, network.layer1)
            return [stem, first, network.layer2, network.layer3, network.layer4]
        if all(hasattr(network, part) for part in ("stem", "stages", "norm_pre")):
            *earlier, last = network.stages
            return [network.stem, *earlier, nn.Sequential(last, network.norm_pre)]
        return [_Whole(network)]

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        if hasattr(self.network, "forward_head"):
            embedding: Tensor = self.network.forward_head(features[-1], pre_logits=True)
            return embedding if embedding.ndim == 2 else embedding.mean(dim=(2, 3, 4))
        return super().embed(features)


def _create(name: str, options: dict[str, Any]) -> Any:
    arguments: dict[str, Any] = {"pretrained": False, "in_chans": 1, "num_classes": 0, **options}
    create_model = _import_timm_3d().create_model
    if not name.startswith("vgg"):
        return create_model(name, **arguments)
    with torch.device("meta"):  # its convolutional MLP head alone would hold 700 M parameters
        network = create_model(name, **arguments)
    network.num_features = network.pre_logits.fc1.in_channels
    network.pre_logits = nn.Identity()
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.BatchNorm3d)):
            module.reset_parameters()
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


class _Whole(nn.Module):
    """The convolutional part of a network whose stages are not open to us."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> Tensor:
        features: Tensor = self.network.forward_features(volume)  # type: ignore[operator]
        return features


@functools.cache
def _import_timm_3d() -> ModuleType:
    with warnings.catch_warnings():  # timm-3d scripts its activations when it is imported
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
        import timm_3d
    module: ModuleType = timm_3d
    return module
