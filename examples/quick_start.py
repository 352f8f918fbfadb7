"""Fifteen lines from phantom knees to an explained model."""

from __future__ import annotations

import sys

import lightning as L

import oahier as oh


def quick_start(folder: str = "runs/quick-start", knees: int = 60, epochs: int = 5) -> L.Trainer:
    """Train and test a dual-head model on phantom knees; results lie in ``folder``."""
    L.seed_everything(0)
    manifest = oh.make_phantoms(f"{folder}/phantoms", knees=knees)  # or oh.read_manifest("knees.csv")
    data = oh.KneeMRIDataModule(manifest, shape=(32, 48, 48), batch_size=4)
    model = oh.HierarchicalClassifier(
        encoder="timm3d/resnet18",  # or any nn.Module
        heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(num_classes=5)},
        loss_weights={"oa": 1.0, "kl": 1.0},
    )
    trainer = L.Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        callbacks=[oh.OrdinalMetrics(), oh.SeverityAxis(), oh.CartilageSaliency(), oh.PredictionWriter()],
    )
    trainer.fit(model, data)
    trainer.test(model, data)
    return trainer


if __name__ == "__main__":
    quick_start(*sys.argv[1:2])
