"""A training step under the trainer, over the same step in a bare loop."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import lightning as L
import torch
from torch.nn import functional as F

from benchmarks.harness import Comparison, alternate, seconds
from benchmarks.volumes import batches, dual_model


class EpochTimer(L.Callback):
    """Seconds of the last training epoch."""

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.start


def training_step(quick: bool) -> list[Comparison]:
    """Goal: at most 2 % on top of a bare PyTorch loop."""
    shape, knees, rounds = ((16, 24, 24), 8, 2) if quick else ((64, 96, 96), 48, 9)
    data = batches(knees, shape, 4, "train")
    model, bare = dual_model(), dual_model()
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-4)

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            timer = EpochTimer()
            trainer = L.Trainer(
                max_epochs=1, limit_val_batches=0,
                accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[timer],
                enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            )  # fmt: skip
            trainer.fit(model, data, data)
        return timer.seconds

    def loop() -> None:
        bare.train()
        for batch in data:
            embedding = bare.encoder(batch["mri"])
            oa, kl = bare.heads["oa"](embedding), bare.heads["kl"](embedding)
            loss = F.binary_cross_entropy_with_logits(oa[:, 0], batch["targets"]["oa"].float())
            loss = loss + F.cross_entropy(kl, batch["targets"]["kl"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    ratios, times = alternate(ours, lambda: seconds(loop), rounds)
    note = f"{knees} knees of {'x'.join(map(str, shape))}, ResNet3D-18 (width 32), batch 4"
    return [Comparison("training step", "bare PyTorch loop", ratios, 1.02, note=note, seconds=times)]
