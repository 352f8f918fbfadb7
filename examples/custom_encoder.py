"""An encoder of one's own, and a plain module as one."""

from __future__ import annotations

import sys
from itertools import pairwise

import lightning as L
from torch import Tensor, nn

import oahier as oh
from oahier.testing import check_encoder


class SmallEncoder(oh.Encoder):
    """Three strided convolutions: the maps of all three stages are open to saliency's tail."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        channels = [1, width, 2 * width, 4 * width]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv3d(a, b, 3, stride=2, padding=1), nn.GroupNorm(4, b), nn.ReLU())
            for a, b in pairwise(channels)
        )
        self.num_features = channels[-1]

    def features(self, volume: Tensor) -> tuple[Tensor, ...]:
        """Feature maps, finest first; the inherited ``embed`` averages the last one."""
        maps = []
        for block in self.blocks:
            volume = block(volume)
            maps.append(volume)
        return tuple(maps)


class PlainNetwork(nn.Module):
    """Any module will do: this one knows nothing of oahier and returns an embedding."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(1, width, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()
        )

    def forward(self, volume: Tensor) -> Tensor:
        """Embeddings ``(batch, width)``."""
        return self.layers(volume)


def main(folder: str = "runs/custom-encoder", knees: int = 40, epochs: int = 2) -> list[L.Trainer]:
    """Check the encoder, then train with it and with the plain module."""
    check_encoder(SmallEncoder())
    manifest = oh.make_phantoms(f"{folder}/phantoms", knees=knees)
    trainers = []
    for name, encoder in {"own": SmallEncoder(), "plain": oh.make(PlainNetwork, width=16)}.items():
        L.seed_everything(0)
        model = oh.HierarchicalClassifier(encoder, heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()})
        trainer = L.Trainer(
            max_epochs=epochs,
            default_root_dir=f"{folder}/{name}",
            callbacks=[oh.OrdinalMetrics(), oh.CartilageSaliency()],
        )
        data = oh.KneeMRIDataModule(manifest, shape=(32, 48, 48))
        trainer.fit(model, data)
        trainer.test(model, data)
        trainers.append(trainer)
    return trainers


if __name__ == "__main__":
    main(*sys.argv[1:2])
