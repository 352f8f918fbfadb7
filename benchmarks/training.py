"""A training step under the trainer, over the same step in a bare loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import lightning as L
import torch
from torch.nn import functional as F
from typing_extensions import override

import oahier as oh
from benchmarks.harness import Comparison, Cost, Round, cost, now
from benchmarks.volumes import batches, dual_model, loader
from oahier.types import Batch


class Turns(L.Callback):
    """Batches for a trainer; before each the bare loop takes its step. Keeps the cost of both per epoch.

    What the trainer takes is all of its epoch but the bare steps, so every few hundred milliseconds the
    other side has its turn.
    """

    def __init__(self, data: Sequence[Batch], bare_step: Callable[[Batch], object]) -> None:
        self.data, self.bare_step = data, bare_step
        self.rounds: list[Round] = []
        self._start = self._bare = Cost()

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.data:
            self._bare += cost(partial(self.bare_step, batch))
            yield batch

    @override
    def on_train_epoch_start(self, *_: Any) -> None:
        self._start, self._bare = now(), Cost()

    @override
    def on_train_epoch_end(self, *_: Any) -> None:
        self.rounds.append((now() - self._start - self._bare, self._bare))


def training_step(quick: bool) -> list[Comparison]:
    """Goal: at most 2 % on top of a bare PyTorch loop."""
    small = _compare((32, 48, 48), 2 if quick else 16, 1 if quick else 7, 1.02)
    return [small] if quick else [_compare((64, 96, 96), 6, 7, 1.02), small]


def _compare(shape: tuple[int, int, int], steps: int, rounds: int, goal: float | None) -> Comparison:
    data = batches(2 * steps, shape, batch_size=2, prefix="train")
    model, bare = dual_model(), dual_model()
    turns = Turns(data, _bare_step(bare))
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            max_epochs=rounds + 1, accelerator="cpu", logger=False, enable_checkpointing=False,
            callbacks=[turns], enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, default_root_dir=folder,
        )  # fmt: skip
        trainer.fit(model, turns, loader(data))
    for ours, theirs in zip(model.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)  # both have done the same work
    note = f"{'x'.join(map(str, shape))}, batch 2, {steps} steps a round, ResNet3D-18 of width 32, AdamW"
    return Comparison(
        "training step under the trainer", "bare PyTorch loop", tuple(turns.rounds[1:]), goal, note=note
    )


def _bare_step(model: oh.HierarchicalClassifier) -> Callable[[Batch], None]:
    """Encoder, two heads, two losses, AdamW; nothing else."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(batch: Batch) -> None:
        embedding = model.encoder(batch["mri"])
        oa, kl = model.heads["oa"](embedding), model.heads["kl"](embedding)
        loss = F.binary_cross_entropy_with_logits(oa[:, 0], batch["targets"]["oa"].float())
        loss = loss + F.cross_entropy(kl, batch["targets"]["kl"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
