"""Times of a training: waiting for data, augmentation, forward pass, backward pass, optimizer."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from oahier.data import KneeMRIDataModule
from oahier.metrics import weighted_qwk
from oahier.model import HierarchicalClassifier
from oahier.modes import evaluating
from oahier.saliency import class_activation_map, resample, tail_score
from oahier.statistics.bootstrap import resampled_values
from oahier.types import Batch

WARM_UP = 2
"""First steps of a training, which are left out."""
STEP = ("forward", "backward", "optimizer")
BOUND = 0.1
"""Share of an epoch that is spent waiting for batches from which on a run is bound by data."""


def synchronised(device: torch.device) -> float:
    """Seconds, once the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Stopwatch(L.Callback):
    """Seconds of each step of a training, by what they are spent on.

    Args:
        data: its augmentation on the device is timed, too.
    """

    def __init__(self, data: KneeMRIDataModule) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.batch: Batch | None = None
        self._mark = self._augmenting = 0.0
        augment = data.on_after_batch_transfer

        def timed(batch: Any, dataloader_idx: int) -> Any:
            start = self._now()
            made = augment(batch, dataloader_idx)
            self._augmenting += self._now() - start
            return made

        data.on_after_batch_transfer = timed  # type: ignore[method-assign]

    def means(self) -> dict[str, float]:
        """Mean seconds a step, without the first steps; ``knees`` is how many a step has."""
        return {name: statistics.fmean(times[WARM_UP:]) for name, times in self.seconds.items()}

    def _now(self) -> float:
        return synchronised(self._device)

    def _lap(self, name: str, less: float = 0.0) -> None:
        now = self._now()
        self.seconds[name].append(now - self._mark - less)
        self._mark = now

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device

    @override
    def on_train_epoch_start(self, *_: Any) -> None:
        self._mark = self._now()

    @override
    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._lap("waiting", less=self._augmenting)
        self.seconds["augmentation"].append(self._augmenting)
        self.seconds["knees"].append(len(batch["knee"]))
        self._augmenting, self.batch = 0.0, batch

    @override
    def on_before_backward(self, *_: Any) -> None:
        self._lap("forward")

    @override
    def on_after_backward(self, *_: Any) -> None:
        self._lap("backward")

    @override
    def on_train_batch_end(self, *_: Any) -> None:
        self._lap("optimizer")


def training_seconds(
    model: HierarchicalClassifier, data: KneeMRIDataModule, trainer: dict[str, Any], steps: int
) -> tuple[dict[str, float], Batch]:
    """Train for some steps; the weights are other ones afterwards.

    Args:
        model: to train.
        data: with a training split.
        trainer: accelerator and precision, as a trainer takes them.
        steps: beside the first ones, which are not timed.

    Returns:
        mean seconds a step (``knees``: how many it has), and the last batch on its device.

    Raises:
        ValueError: no step was made.
    """
    watch = Stopwatch(data)
    fitted = L.Trainer(
        **trainer, devices=1, max_epochs=-1, max_steps=steps + WARM_UP, limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, callbacks=[watch],
    )  # fmt: skip
    fitted.fit(model, datamodule=data)
    if watch.batch is None or len(watch.seconds["optimizer"]) <= WARM_UP:
        raise ValueError(
            f"expected {WARM_UP + 1} training steps or more, got {len(watch.seconds['optimizer'])}"
        )
    return watch.means(), watch.batch


def analysis_seconds(model: HierarchicalClassifier, batch: Batch) -> dict[str, float]:
    """Median seconds of a forward pass of a batch without gradient, and of Grad-CAM of its last map.

    Grad-CAM is NaN for an encoder whose last map has no grid.
    """
    device = batch["mri"].device
    model.to(device)  # a trainer leaves it on the processor
    volume = batch["mri"].to(next(model.encoder.parameters(), batch["mri"]).dtype)
    name = next(name for name in model.heads if name not in model.probes)

    def forward() -> tuple[Tensor, ...]:
        with torch.no_grad():
            features = model.maps(volume)
            model.logits_from_embedding(model.embed(features))
        return features

    def severity(embedding: Tensor) -> Tensor:
        return model._head(name).severity(model.logits_from_embedding(embedding)[name])

    def explain(features: tuple[Tensor, ...]) -> None:
        score = tail_score(features, severity, embed=model.encoder.embed)
        resample(class_activation_map(features[-1], score), volume.shape[2:])

    with evaluating(model):
        found = {"inference": _median(forward, device)}
        try:
            found["saliency"] = _median(partial(explain, forward()), device)
        except (ValueError, IndexError, RuntimeError):
            found["saliency"] = float("nan")
    return found


def statistics_seconds(knees: int = 500, resamples: int = 2000) -> float:
    """Seconds of a paired bootstrap of the quadratic weighted kappa of two models."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, knees)
    grades = [np.clip(labels + generator.integers(-1, 2, knees), 0, 4) for _ in range(2)]
    kappas = [partial(weighted_qwk, predicted=one, labels=labels) for one in grades]
    subjects = [f"{row}" for row in range(knees)]
    return _median(
        lambda: resampled_values(kappas, subjects, resamples, np.random.default_rng(1)), torch.device("cpu")
    )


def _median(action: Callable[[], object], device: torch.device, times: int = 5) -> float:
    action()
    taken = []
    for _ in range(times):
        start = synchronised(device)
        action()
        taken.append(synchronised(device) - start)
    return statistics.median(taken)
