"""The point of it all: a model learns severity from phantom knees and says so on held-out ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch

import oahier as oh


@pytest.mark.slow
def test_held_out_phantoms_are_graded(tmp_path: Path) -> None:
    L.seed_everything(0)
    manifest = oh.make_phantoms(tmp_path, knees=150, shape=(24, 32, 32), progress=False)
    data = oh.KneeMRIDataModule(manifest, shape=(24, 32, 32), batch_size=8)
    model = oh.HierarchicalClassifier(
        oh.ResNet3D(depth=10, width=16),
        heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(5)},
        optimizer=partial(torch.optim.AdamW, lr=1e-3),
        lr_scheduler=partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=14),
    )
    trainer = L.Trainer(
        max_epochs=14,
        accelerator="cpu",
        default_root_dir=tmp_path / "run",
        callbacks=[oh.OrdinalMetrics(figure_every_n_epochs=0), oh.SeverityAxis()],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    measured = trainer.callback_metrics
    assert measured["test/kl/qwk"] > 0.4
    assert measured["test/oa/auc"] > 0.8
    assert measured["test/kl/spearman"] > 0.5
    assert measured["test/axis/spearman_kl"] > 0.4
