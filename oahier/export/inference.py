"""The part of a model that other tools run: a volume in, named numbers out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oahier.heads import Head
from oahier.model import HierarchicalClassifier


class Inference(nn.Module):
    """A model in evaluation mode from preprocessed volumes to what its heads say.

    ``forward`` takes ``mri``, ``(batch, 1, i, j, k)`` float32, z-scored, and returns by name:
    ``probability_<head>`` ``(batch, classes)``, ``severity_<head>`` ``(batch,)`` and ``embedding``
    ``(batch, features)``.

    >>> import oahier as oh
    >>> model = oh.HierarchicalClassifier(oh.ResNet3D(depth=10, width=8), {"kl": oh.SoftmaxHead()})
    >>> {name: tuple(value.shape) for name, value in Inference(model)(torch.zeros(2, 1, 16, 24, 24)).items()}
    {'probability_kl': (2, 5), 'severity_kl': (2,), 'embedding': (2, 64)}
    """

    def __init__(self, model: HierarchicalClassifier) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, mri: Tensor) -> dict[str, Tensor]:
        embedding = self.model.encoder(mri)
        outputs = {}
        for name, logits in self.model.logits_from_embedding(embedding).items():
            head = self.model.heads[name]
            if isinstance(head, Head):
                outputs[f"probability_{name}"] = head.probabilities(logits)
                outputs[f"severity_{name}"] = head.severity(logits)
        return {**outputs, "embedding": embedding}


def trial_volumes(shape: tuple[int, ...], count: int, seed: int = 0) -> Tensor:
    """``(count, 1, *shape)`` smooth volumes with noise, z-scored: what outputs are compared on."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((count, 1, 5, 5, 5), generator=generator)
    smooth = nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=False)
    volumes = smooth + 0.3 * torch.randn((count, 1, *shape), generator=generator)
    dims = (1, 2, 3, 4)
    return (volumes - volumes.mean(dims, keepdim=True)) / volumes.std(dims, keepdim=True)
