"""Classification networks of MONAI by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from oahier.encoders.base import StagedEncoder
from oahier.specs import nearest

_CONSTRUCTORS = {
    **{f"densenet{depth}": f"DenseNet{depth}" for depth in (121, 169, 201, 264)},
    **{f"resnet{depth}": f"resnet{depth}" for depth in (10, 18, 34, 50, 101, 152, 200)},
    **{f"seresnet{depth}": f"SEResNet{depth}" for depth in (50, 101, 152)},
    **{f"seresnext{depth}": f"SEResNext{depth}" for depth in (50, 101)},
    "senet154": "SENet154",
}


class MonaiEncoder(StagedEncoder):
    """A DenseNet, ResNet or SENet of MONAI (extra ``oahier[monai]``), every stage open.

    Args:
        name: ``densenet121 ... densenet264``, ``resnet10 ... resnet200``, ``seresnet50 ... seresnet152``,
            ``seresnext50``, ``seresnext101`` or ``senet154``.
        options: passed to the MONAI network (``norm``, ``dropout_prob``, ...).

    Raises:
        ValueError: unknown name (the nearest ones are given), or options that the network refuses.
        ImportError: MONAI is not installed.
    """

    def __init__(self, name: str, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        if name not in _CONSTRUCTORS:
            raise ValueError(
                f"encoder 'monai/{name}': expected one of {', '.join(sorted(_CONSTRUCTORS))}."
                f"{nearest(name, _CONSTRUCTORS)} Any other MONAI network can be handed in as a module"
            )
        try:
            from monai.networks import nets
        except ImportError as error:
            raise ImportError(f"encoder 'monai/{name}' needs MONAI: pip install 'oahier[monai]'") from error
        channels = "n_input_channels" if name.startswith("resnet") else "in_channels"
        classes = "out_channels" if name.startswith("densenet") else "num_classes"
        try:
            network = getattr(nets, _CONSTRUCTORS[name])(
                **{"spatial_dims": 3, channels: 1, classes: 1, **(options or {})}
            )
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"encoder 'monai/{name}' cannot be made with options {options}: {error}"
            ) from error
        stages, self.num_features = _split(network)
        theirs = {id(value): key for key, value in network.state_dict(keep_vars=True).items()}
        self.parts = nn.ModuleList(stages)  # without the classifier, whose parameters nobody would train
        self._native = {
            theirs[id(value)]: key for key, value in self.state_dict(keep_vars=True).items()
        }  # names of MONAI's own network

    def native_names(self) -> dict[str, str]:
        return self._native

    def stages(self) -> Sequence[nn.Module]:
        return list(self.parts)


def _split(network: Any) -> tuple[list[nn.Module], int]:
    """The stages of a MONAI network and the width of its last map."""
    if hasattr(network, "class_layers"):
        return _split_densenet(network.features), network.class_layers.out.in_features
    if hasattr(network, "layer0"):
        stages = [network.layer0, network.layer1, network.layer2, network.layer3, network.layer4]
        return stages, network.last_linear.in_features
    stem = nn.Sequential(network.conv1, network.bn1, network.act)
    pool = nn.Identity() if network.no_max_pool else network.maxpool
    first = nn.Sequential(pool, network.layer1)
    return [stem, first, network.layer2, network.layer3, network.layer4], network.in_planes


def _split_densenet(features: nn.Sequential) -> list[nn.Module]:
    """One stage up to the first pooling, then one a dense block with the transition before it."""
    stages: list[nn.Module] = []
    pending: list[nn.Module] = []
    for name, layer in features.named_children():
        pending.append(layer)
        if name == "pool0" or name.startswith("denseblock"):
            stages.append(nn.Sequential(*pending))
            pending = []
    stages[-1] = nn.Sequential(stages[-1], *pending, nn.ReLU())
    return stages
