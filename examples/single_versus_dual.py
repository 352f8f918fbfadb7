"""Single-OA, Single-KL and Dual supervision of one encoder, on the same knees.

The gradients of probe heads do not reach the encoder, so all three models report the same metrics and are
chosen in the same way.
"""

from __future__ import annotations

import sys
from functools import partial

import lightning as L
import torch

import oahier as oh
from oahier.callbacks import BestCheckpoint


def heads(supervision: str) -> dict[str, oh.Head]:
    """OA and KL heads; the one that is not supervised becomes a probe."""
    return {
        "oa": oh.BinaryHead(probe=supervision == "single-kl"),
        "kl": oh.SoftmaxHead(num_classes=5, probe=supervision == "single-oa"),
    }


def main(
    folder: str = "runs/single-versus-dual", knees: int = 80, epochs: int = 8
) -> dict[str, dict[str, float]]:
    """Train and test the three models; returns the test metrics of each."""
    manifest = oh.make_phantoms(f"{folder}/phantoms", knees=knees)
    results = {}
    for supervision in ("single-oa", "single-kl", "dual"):
        L.seed_everything(0)
        data = oh.KneeMRIDataModule(manifest, shape=(32, 48, 48), batch_size=8)
        model = oh.HierarchicalClassifier(
            encoder=oh.ResNet3D(depth=10, width=8, norm="group"),
            heads=heads(supervision),
            optimizer=partial(torch.optim.AdamW, lr=1e-3),
        )
        trainer = L.Trainer(
            max_epochs=epochs,
            default_root_dir=f"{folder}/{supervision}",
            callbacks=[
                oh.OrdinalMetrics(),
                oh.SeverityAxis(),
                oh.CartilageSaliency(),
                oh.PredictionWriter(),
                BestCheckpoint("val/kl/qwk"),
            ],
        )
        trainer.fit(model, data)
        trainer.test(model, data, ckpt_path="best")
        results[supervision] = {name: float(value) for name, value in trainer.callback_metrics.items()}
    names = ("test/kl/qwk", "test/oa/auc", "test/axis/spearman_kl", "test/saliency/enrichment")
    print(f"{'':12}" + "".join(f"{name:>28}" for name in names))
    for supervision, values in results.items():
        print(f"{supervision:12}" + "".join(f"{values.get(name, float('nan')):28.3f}" for name in names))
    return results


if __name__ == "__main__":
    main(*sys.argv[1:2])
