"""Validation during fit with every callback, over validation with none."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import lightning as L

import oahier as oh
from benchmarks.harness import Comparison, alternate
from benchmarks.volumes import batches, dual_model


class Clock(L.Callback):
    """Two of these around the other callbacks take the time of a validation epoch with all its hooks."""

    started: float
    seconds: float

    def __init__(self, other: Clock | None = None) -> None:
        self.other = other

    def on_validation_start(self, *_: Any) -> None:
        """The first of the callbacks starts."""
        if self.other is None:
            self.started = time.perf_counter()

    def on_validation_end(self, *_: Any) -> None:
        """The last of the callbacks stops."""
        if self.other is not None:
            self.other.seconds = time.perf_counter() - self.other.started


def validation(quick: bool) -> list[Comparison]:
    """Goal: all callbacks together add at most 5 % to a validation epoch."""
    shape, knees, rounds = ((16, 24, 24), 8, 1) if quick else ((64, 96, 96), 64, 5)
    train, val = batches(8, shape, 4, "train"), batches(knees, shape, 4, "val")
    model = dual_model()

    def epoch(callbacks: list[L.Callback]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            first = Clock()
            trainer = L.Trainer(
                max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False,
                default_root_dir=folder, callbacks=[first, *callbacks, Clock(first)],
            )  # fmt: skip
            trainer.fit(model, train, val)
        return first.seconds

    measures = [
        oh.OrdinalMetrics,
        oh.SeverityAxis,
        oh.CartilageSaliency,
        oh.PredictionWriter,
        oh.LearningCurves,
    ]
    note = f"{knees} knees of {'x'.join(map(str, shape))}, ResNet3D-18 (width 32), batch 4"
    results = []
    together, times = alternate(lambda: epoch([make() for make in measures]), lambda: epoch([]), rounds)
    results.append(
        Comparison("validation with all callbacks", "without", together, 1.05, note=note, seconds=times)
    )
    for make in measures:
        ratios, times = alternate(lambda make=make: epoch([make()]), lambda: epoch([]), max(1, rounds // 2))
        results.append(
            Comparison(f"validation with {make.__name__}", "without", ratios, None, note=note, seconds=times)
        )
    return results
