"""Any module as an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oahier.encoders.base import Encoder
from oahier.modes import evaluating

_PROBE_SIZES = (32, 64, 96, 128)
_CLASSIFIERS = ("fc", "classifier", "head", "heads", "last_linear", "class_layers", "linear_head")
"""Names under which networks keep the layer that scores their classes."""


class PlainEncoder(Encoder):
    """Wraps a module that returns a feature map, several maps (coarsest last), or an embedding.

    An embedding becomes a map of one voxel: everything works but class activation maps, which need a grid.

    Args:
        module: maps ``(batch, 1, i, j, k)`` to ``(batch, channels, *grid)``, to a list of such maps, or
            to ``(batch, features)``.
        num_features: width of the embedding. When not given it is ``module.num_features`` or found by a
            forward pass over a small empty volume.

    Raises:
        ValueError: the width cannot be found, the output is none of the above, or the module ends in a
            classifier, whose scores are no embedding (``num_features`` insists that they are).
    """

    def __init__(self, module: nn.Module, num_features: int | None = None) -> None:
        super().__init__()
        self.module = module
        if num_features is None:
            declared = getattr(module, "num_features", None)
            _refuse_classifier(module)
            num_features = declared if isinstance(declared, int) else _measure_width(module)
        self.num_features = num_features

    def features(self, volume: Tensor) -> tuple[Tensor, ...]:
        return as_feature_maps(self.module(volume), type(self.module).__name__)


def as_feature_maps(output: object, source: str) -> tuple[Tensor, ...]:
    """Feature maps from what a module returned; an embedding becomes a one-voxel map.

    Raises:
        ValueError: the output is neither a map, nor several maps, nor an embedding.
    """
    maps = tuple(output) if isinstance(output, Sequence) and len(output) > 0 else (output,)
    understood = []
    for item in maps:
        if isinstance(item, Tensor) and item.ndim == 2:
            item = item[:, :, None, None, None]
        if not isinstance(item, Tensor) or item.ndim != 5:
            got = (
                f"a tensor of shape {tuple(item.shape)}" if isinstance(item, Tensor) else type(item).__name__
            )
            raise ValueError(
                f"encoder {source}: expected a feature map (batch, channels, i, j, k), a list of maps or an "
                f"embedding (batch, features), got {got}; subclass oahier.Encoder to say how it is read"
            )
        understood.append(item)
    return tuple(understood)


def _refuse_classifier(module: nn.Module) -> None:
    """An error for a network whose last layer scores classes."""
    for name, layer in module.named_children():
        linear = [found for found in layer.modules() if isinstance(found, nn.Linear)]
        if name in _CLASSIFIERS and linear and linear[-1].out_features < linear[-1].in_features:
            scores, own = linear[-1].out_features, "monai" in type(module).__module__
            by_name = " or name it, as in encoder='monai/resnet10'," if own else ""
            raise ValueError(
                f"encoder {type(module).__name__}: expected an embedding or feature maps, but its layer "
                f"{name!r} gives {scores} class scores: replace it (module.{name} = torch.nn.Identity()),"
                f"{by_name} or insist with oahier.PlainEncoder(module, num_features={scores})"
            )


@torch.no_grad()
def _measure_width(module: nn.Module) -> int:
    """Number of channels of the last map, from a forward pass that leaves modes and RNG as they were."""
    parameter = next(module.parameters(), torch.zeros(()))
    failure: Exception | None = None
    with evaluating(module):
        for size in _PROBE_SIZES:
            volume = torch.zeros((1, 1, size, size, size), dtype=parameter.dtype, device=parameter.device)
            try:
                with torch.random.fork_rng(devices=[]):
                    output = module(volume)
            except Exception as error:  # any module of anybody's: whatever it raises, a larger size may work
                failure = error
                continue
            return as_feature_maps(output, type(module).__name__)[-1].shape[1]
    raise ValueError(
        f"encoder {type(module).__name__}: cannot find the width of its embedding by running it on empty "
        f"cubes of {_PROBE_SIZES} voxels ({failure}); give the module an integer attribute num_features, "
        "or wrap it as oahier.PlainEncoder(module, num_features=...)"
    )
