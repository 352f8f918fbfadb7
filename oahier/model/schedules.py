"""Learning-rate schedules that follow the length of a training."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from abc import abstractmethod
from typing import Any

import lightning as L
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

_log = logging.getLogger(__name__)


class Schedule(LRScheduler):
    """A learning rate that depends on the share of a training that is done, and is set at every step.

    A :class:`~oahier.HierarchicalClassifier` says how many steps its training has, from ``max_epochs``: with
    other epochs the same schedule is stretched, also where a training is resumed with more of them.

    Args:
        optimizer: whose rates are set.
        total_steps: optimizer steps of the whole training; those of the trainer when not given.

    Raises:
        ValueError: not a positive number of steps.
    """

    def __init__(self, optimizer: Optimizer, *, total_steps: int | None = None) -> None:
        self.total_steps = total_steps
        self._given = total_steps is not None
        if total_steps is not None:
            self.stretch(total_steps)
        super().__init__(optimizer)

    @abstractmethod
    def factor(self, done: float) -> float:
        """What the optimizer's rate is multiplied by when a share of the training is done, 0 to 1."""

    def stretch(self, total_steps: int | float) -> None:
        """Stretch the schedule to a number of steps, unless it was given one."""
        if not 0 < total_steps < math.inf:
            raise ValueError(
                f"{type(self).__name__}: expected a training that ends, got {total_steps} steps; set "
                "trainer.max_epochs (or max_steps)"
            )
        if not self._given:
            self.total_steps = int(total_steps)
            self._apply()

    @override
    def get_lr(self) -> list[float]:  # type: ignore[override]
        if self.total_steps is None:
            return list(self.base_lrs)  # type: ignore[arg-type]
        factor = self.factor(min(1.0, self.last_epoch / self.total_steps))
        return [float(base) * factor for base in self.base_lrs]

    def _apply(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = self.get_lr()  # type: ignore[assignment]

    @override
    def state_dict(self) -> dict[str, Any]:
        """Steps done and the optimizer's rates; the shape follows from the arguments."""
        return {"last_epoch": self.last_epoch, "base_lrs": [float(rate) for rate in self.base_lrs]}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_epoch = int(state_dict["last_epoch"])
        self.base_lrs = list(state_dict["base_lrs"])
        self._step_count = self.last_epoch + 1
        if self.total_steps is not None:
            self._apply()


class CosineSchedule(Schedule):
    r"""Linear warm-up, then half a cosine down to the end (Loshchilov & Hutter 2017, without restarts).

    With the share :math:`p` of the training's :math:`n` steps that is done, the rate is multiplied by

    .. math:: \frac{p + 1 / n}{w} \text{ for } p < w, \qquad
        f + (1 - f) \frac{1 + \cos(\pi (p - w) / (1 - w))}{2} \text{ from there on.}

    Args:
        optimizer: whose rates are set.
        warmup: share of the training :math:`w`.
        final: share of the rate :math:`f` at the end.
        total_steps: see :class:`Schedule`.

    Raises:
        ValueError: ``warmup`` outside [0, 1), or ``final`` outside [0, 1].

    References:
        https://arxiv.org/abs/1608.03983

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> schedule = CosineSchedule(optimizer, warmup=0.2, total_steps=10)
    >>> [round(schedule.factor(share), 3) for share in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, *, warmup: float = 0.0, final: float = 0.0, total_steps: int | None = None
    ) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(
                f"CosineSchedule(warmup={warmup}): expected a share of the training, 0 <= warmup < 1"
            )
        if not 0 <= final <= 1:
            raise ValueError(f"CosineSchedule(final={final}): expected a share of the rate, 0 to 1")
        self.warmup, self.final = warmup, final
        super().__init__(optimizer, total_steps=total_steps)

    @override
    def factor(self, done: float) -> float:
        if done < self.warmup:
            return min(1.0, (done + 1 / (self.total_steps or 1)) / self.warmup)
        angle = math.pi * (done - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(angle)) / 2


def follow_training(trainer: L.Trainer, planned: int | None) -> None:
    """Stretch the schedules of a training that starts, and say where a longer one raises the rate again.

    Args:
        trainer: its optimizers and schedules are restored by now.
        planned: epochs of the training that the checkpoint is of; ``None`` where there is none.
    """
    for config in trainer.lr_scheduler_configs:
        scheduler = config.scheduler
        stopped = _rate(scheduler)
        if isinstance(scheduler, Schedule):
            scheduler.stretch(trainer.estimated_stepping_batches)
        if planned in (None, trainer.max_epochs) or not trainer.ckpt_path or config.reduce_on_plateau:
            continue
        left = trainer.estimated_stepping_batches - trainer.global_step
        if config.interval == "epoch":
            left = (trainer.max_epochs or 0) - trainer.current_epoch
        highest = _highest_rate(scheduler, int(left))
        if highest > stopped * (1 + 1e-6) and trainer.is_global_zero:
            _log.warning(
                "with %d epochs instead of %d the learning rate rises again: it was %.3g where the checkpoint"
                " stopped, and will be up to %.3g (%s). This is not what a training of %d epochs from the"
                " start would be",
                trainer.max_epochs, planned, stopped, highest, type(scheduler).__name__, trainer.max_epochs,
            )  # fmt: skip


def _rate(scheduler: Any) -> float:
    return max(float(group["lr"]) for group in scheduler.optimizer.param_groups)


def _highest_rate(scheduler: Any, steps: int) -> float:
    """The highest rate of the next steps; schedule and optimizer are as before afterwards."""
    state = copy.deepcopy(scheduler.state_dict())
    groups = scheduler.optimizer.param_groups
    before = [{name: value for name, value in group.items() if name != "params"} for group in groups]
    highest = _rate(scheduler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer has made no step of these
        for _ in range(steps - 1):
            scheduler.step()
            highest = max(highest, _rate(scheduler))
    scheduler.load_state_dict(state)
    for group, values in zip(groups, before, strict=True):
        group.update(values)
    return highest
