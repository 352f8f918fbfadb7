"""Losses of an epoch: exact means over batches and processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from oahier.gathering import EpochTable, as_step_output, gathering_of
from oahier.keys import metric_key
from oahier.types import MISSING, is_known


class RunningMean(Metric):
    """Weighted mean over the steps of an epoch and over all processes; NaN while all weights are 0.

    >>> mean = RunningMean()
    >>> mean.update(torch.tensor(1.0), 3)
    >>> mean.update(torch.tensor(5.0), 1)
    >>> mean.compute()
    tensor(2.)
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: int) -> None:
        """Add the mean of ``weight`` values; one of weight 0 changes nothing."""
        self.total += value.float() * weight if weight else 0.0
        self.weight += weight

    def compute(self) -> Tensor:
        """The mean so far."""
        return self.total / self.weight


class LossLogging(L.LightningModule):
    """A module that logs the losses of training steps, and those of evaluation epochs from their table.

    ``val/loss`` and ``test/loss`` are the objective of the epoch: the weighting of the heads applied to the
    epoch's mean losses, not a mean over batches; see :func:`epoch_losses` for these. ``train/...`` are means
    over steps, weighted by knees with a label, over all processes.
    """

    heads: nn.ModuleDict
    terms: nn.ModuleDict

    def joined(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The objective of losses by head and term."""
        raise NotImplementedError(f"{type(self).__name__}.joined: expected a subclass to join losses")

    def watch_losses(self) -> None:
        """Make the running means; called when heads and terms are known."""
        names = ["", *self.heads, *self.terms]
        self._means = nn.ModuleDict({f"mean {name}": RunningMean() for name in names})
        self._logged_by = 0

    def log_step(self, loss: Tensor, losses: Mapping[str, Tensor], readings: Mapping[str, Tensor]) -> None:
        """Log the losses of a training step; ``readings`` holds labels ``(batch, readings)`` by head."""
        known = torch.stack([is_known(labels).any(dim=1) for labels in readings.values()])
        known = torch.cat([known, known.any(dim=0, keepdim=True)])  # one transfer from the device for all
        counts = dict(zip([*readings, ""], known.sum(dim=1).tolist(), strict=True))
        by = id(self._trainer)  # a step may also be taken without any
        new, self._logged_by = self._logged_by != by, by
        for name in self._means:
            key = name.removeprefix("mean ")
            mean: Any = self._means[name]
            first = new or not mean.update_called
            mean.update(losses.get(key, loss).detach(), counts.get(key, known.shape[1]))
            if first:  # Lightning keeps the mean itself, computes it at the end of the epoch and resets it
                label = metric_key("train", *filter(None, [key]), "loss")
                self.log(label, mean, on_step=False, on_epoch=True)
        if self._trainer is not None and self._trainer.progress_bar_callback is not None:
            self.log("loss", loss.detach(), on_step=True, on_epoch=False, prog_bar=True, logger=False)

    def on_validation_epoch_start(self) -> None:
        """Begin a table of the epoch; several dataloaders are refused here."""
        gathering_of(self.trainer).start(self.trainer, type(self).__name__)

    def on_validation_batch_end(
        self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the rows of a step."""
        if not self.trainer.sanity_checking:
            output = as_step_output(outputs, type(self).__name__)
            gathering_of(self.trainer).add(batch_idx, output, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the losses of the epoch, which are the same on every process."""
        table = None if self.trainer.sanity_checking else gathering_of(self.trainer).table(self.trainer)
        stage = self.trainer.state.stage
        if not table or stage is None:
            return
        found = epoch_losses(table, self.heads, self.terms)
        losses = {name: loss.to(self.device) for name, loss in found.items()}
        nothing = torch.tensor(torch.nan, device=self.device)
        prefix = stage.dataloader_prefix or ""
        values = {metric_key(prefix, "loss"): self.joined(losses) if losses else nothing}
        for name in (*self.heads, *self.terms):
            values[metric_key(prefix, name, "loss")] = losses.get(name, nothing)
        self.log_dict(values, batch_size=1, sync_dist=self.trainer.world_size > 1)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


def epoch_losses(table: EpochTable, heads: Iterable[str], terms: Iterable[str]) -> dict[str, Tensor]:
    """Means of the losses of an evaluation epoch, each knee once.

    Args:
        table: of the epoch, with ``{name}/loss`` and, for heads, ``{name}/labels``.
        heads: names of heads; the mean is over the knees with a label (in any of its readings). Heads
            without any are left out.
        terms: names of terms of the objective; a knee has the value of its batch.

    >>> labels, losses = torch.tensor([2, -1, 0]), torch.tensor([0.5, torch.nan, 1.5])
    >>> table = EpochTable(["a", "b", "c"], ["a", "b", "c"], {"kl/labels": labels, "kl/loss": losses})
    >>> epoch_losses(table, ["kl"], [])
    {'kl': tensor(1.)}
    """
    means = {}
    for name in heads:
        known = (table[f"{name}/labels"] != MISSING) | ~table[f"{name}/loss"].isnan()
        if bool(known.any()):
            means[name] = table[f"{name}/loss"][known].double().mean().float()
    return means | {name: table[f"{name}/loss"].double().mean().float() for name in terms}
