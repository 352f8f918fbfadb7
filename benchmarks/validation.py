"""Validation with every callback, over validation with none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import lightning as L
from torch.utils.data import DataLoader
from typing_extensions import override

import oahier as oh
from benchmarks.harness import Comparison, Cost, Round, in_turn, now
from benchmarks.volumes import batches, dual_model, loader
from oahier.types import Batch

CYCLE = 5
"""Epochs that are measured with callbacks; by default pictures are drawn in every fifth."""


class Clock:
    """Seconds of each validation of a fit, and of each callback in those that have callbacks."""

    def __init__(self) -> None:
        self.epochs: list[Cost] = []
        self.taken: list[dict[str, Cost]] = []
        self.start = self.last = Cost()


class Mark(L.Callback):
    """Stands before the first measured callback and after each one; keeps what the one before it took."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock = name, clock

    def _mark(self) -> None:
        time = now()
        if self.name:
            taken = self.clock.taken[-1]
            taken[self.name] = taken.get(self.name, Cost()) + (time - self.clock.last)
        self.clock.last = time

    @override
    def on_validation_start(self, *_: Any) -> None:
        if not self.name:
            self.clock.taken.append({})
            self.clock.start = now()

    @override
    def on_validation_batch_end(self, *_: Any) -> None:
        self._mark()

    @override
    def on_validation_epoch_end(self, *_: Any) -> None:
        self._mark()

    @override
    def on_validation_end(self, *_: Any) -> None:
        self._mark()

    @override
    def on_train_epoch_end(self, *_: Any) -> None:
        self._mark()


class Turns(L.Callback):
    """Takes the measured callbacks out of every second validation of a fit. Must be the last callback.

    An epoch is timed from the start of its validation to its end, since learning curves are drawn there.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._all: list[L.Callback] = []

    @override
    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.is_last_batch:
            self._all = trainer.callbacks  # type: ignore[attr-defined]
            if trainer.current_epoch % 2:
                trainer.callbacks = [self._all[0], self]  # type: ignore[attr-defined]

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.clock.epochs.append(now() - self.clock.start)
        trainer.callbacks = self._all  # type: ignore[attr-defined]


def validation(quick: bool) -> list[Comparison]:
    """Goal: all callbacks together add at most 5 % to a validation epoch without pictures."""
    shape, knees, epochs = ((16, 24, 24), 8, 2) if quick else ((64, 96, 96), 48, CYCLE)
    data = loader(batches(knees, shape, 4, "val"))
    sizes = f"{knees} knees of {'x'.join(map(str, shape))}, batch 4, ResNet3D-18 of width 32"
    return _fit(data, epochs, sizes) + _validate(data, 1 if quick else 3, sizes)


def _fit(data: DataLoader[Batch], epochs: int, sizes: str) -> list[Comparison]:
    """Validations of one fit, with callbacks in the even epochs and without in the odd ones."""
    clock = Clock()
    callbacks: list[L.Callback] = [Mark("", clock)]
    for callback in _measured():
        callbacks += [callback, Mark(type(callback).__name__, clock)]
    train = loader(batches(48, (16, 24, 24), 24, "train"))
    with tempfile.TemporaryDirectory() as folder:
        _trainer(folder, [*callbacks, Turns(clock)], 2 + 2 * epochs).fit(dual_model(), train, data)
    rounds = tuple(zip(clock.epochs[::2], clock.epochs[1::2], strict=True))
    first, later = rounds[:1], rounds[1:]
    plain = tuple(pair for index, pair in enumerate(later, start=1) if index % CYCLE)
    note = f"{sizes}; {epochs} epochs of a fit, pictures in one"
    results = [
        Comparison("validation with all callbacks", "without", later, pooled=True, note=note),
        Comparison("the same, epochs without pictures", "without", plain, 1.05, note=sizes),
        Comparison("the same, first epoch", "without", first, note=f"{sizes}; imports, pictures"),
    ]
    taken = clock.taken[2::2]
    for name in taken[0]:
        share: tuple[Round, ...] = tuple(
            (mine[name], without) for mine, (_, without) in zip(taken, later, strict=True)
        )
        results.append(Comparison(f"{name} alone", "validation without", share, pooled=True, note=sizes))
    return results


def _validate(data: DataLoader[Batch], rounds: int, sizes: str) -> list[Comparison]:
    """``Trainer.validate``, which draws its pictures each time, and writes all files."""
    model = dual_model()

    def run(callbacks: list[L.Callback]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _trainer(folder, callbacks, 1).validate(model, data, verbose=False)

    made = in_turn(lambda: run(_measured()), lambda: run([]), rounds)
    note = f"{sizes}; trainer made anew, pictures drawn"
    return [Comparison("Trainer.validate with all callbacks", "without", made, note=note)]


def _measured() -> list[L.Callback]:
    return [
        oh.OrdinalMetrics(),
        oh.SeverityAxis(),
        oh.CartilageSaliency(),
        oh.PredictionWriter(),
        oh.LearningCurves(),
    ]


def _trainer(folder: str | Path, callbacks: list[L.Callback], epochs: int) -> L.Trainer:
    return L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, callbacks=callbacks,
    )  # fmt: skip
