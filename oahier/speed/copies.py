"""Copies of a model that take training steps one way or another."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.optim import Optimizer

from oahier.model import HierarchicalClassifier
from oahier.model.execution import Execution, set_layout
from oahier.speed.choice import Speed
from oahier.speed.deviation import FLOOR, Outcome
from oahier.types import Batch, StepOutput


class TrainingCopy:
    """A copy of a model on a device, with an optimizer of its own.

    Args:
        model: stays as it is.
        speed: how the copy computes; its precision, where it has none, is ``precision``.
        batches: on the device; step ``n`` takes the ``n``-th one, over and over.
        device: of the copy.
        precision: of the trainer.
        clock: seconds, asked before and after each step; by default those of the device.
    """

    def __init__(
        self,
        model: HierarchicalClassifier,
        speed: Speed,
        batches: Sequence[Batch],
        device: torch.device,
        precision: str = "32-true",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._batches, self._device = batches, device
        self._clock = clock or (lambda: synchronised(device))
        plugin = precision_plugin(speed.precision or precision, device)
        self._context: Callable[[], AbstractContextManager[Any]] = (
            plugin.forward_context if plugin else nullcontext
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=bool(plugin and plugin.scaler))
        self._model = copied(model).to(device).train()
        self._model.execution = Execution(channels_last=speed.channels_last, compiled=speed.compile)
        set_layout(self._model.encoder, channels_last=speed.channels_last)
        self._optimizer = optimizer_of(self._model)

    def step(self, index: int) -> float:
        """Seconds of a training step."""
        start = self._clock()
        loss = self._forward(index)["loss"]
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return self._clock() - start

    def outcome(self) -> tuple[Outcome, float]:
        """What the first batch gives without dropout, and seconds; weights stay as they are."""
        start = self._clock()
        with _without_dropout(self._model):
            output = self._forward(0)
            output["loss"].backward()
        seconds = self._clock() - start
        gradients = [parameter.grad for parameter in self._model.parameters()]
        self._optimizer.zero_grad()
        heads = {name: head.log_probabilities(output["logits"][name]) for name, head in self._model._heads()}
        outcome = Outcome(
            log_probabilities=torch.cat([one.float().flatten() for one in heads.values()]).clamp(min=FLOOR),
            loss=float(output["loss"].detach()),
            gradient=torch.cat([one.float().flatten() for one in gradients if one is not None]),
        )
        return outcome, seconds

    def memory(self) -> float | None:
        """Bytes that a step needs beside what lies on a CUDA device all the time; ``None`` on others."""
        if self._device.type != "cuda":
            return None
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self.step(0)
        return float(torch.cuda.max_memory_allocated(self._device) - before)

    def _forward(self, index: int) -> StepOutput:
        with self._context():
            return self._model.training_step(self._batches[index % len(self._batches)], index)


def copied(model: HierarchicalClassifier) -> HierarchicalClassifier:
    """A copy with weights of its own; what makes optimizers (under the command line, a parser) is shared."""
    shared = (model._optimizer, model._lr_scheduler, model._init_arguments)
    return copy.deepcopy(model, {id(one): one for one in shared})


def synchronised(device: torch.device) -> float:
    """Seconds, once the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def precision_plugin(precision: str, device: torch.device) -> MixedPrecision | None:
    """Lightning's plugin of a mixed precision; none of ``32-true``."""
    if precision == "32-true":
        return None
    return MixedPrecision(precision, device.type)  # type: ignore[arg-type]


def optimizer_of(model: HierarchicalClassifier) -> Optimizer:
    """The optimizer that a model configures, without its schedule."""
    made = model.configure_optimizers()
    optimizer: Optimizer = made["optimizer"] if isinstance(made, dict) else made
    return optimizer


@contextmanager
def _without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Dropout of every kind in evaluation mode: its random numbers differ where code is compiled."""
    training = [one for one in model.modules() if one.training and "drop" in type(one).__name__.lower()]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
