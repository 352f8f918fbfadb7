"""Embeddings that training steps made, of the epoch that runs and of the one before."""

from __future__ import annotations

from typing import Any

import lightning as L

from oahier.gathering import EpochRecords, EpochTable, as_step_output


class TrainingSteps:
    """Keeps the embedding and the labels of every knee as its latest training step had them."""

    def __init__(self) -> None:
        self._current, self._previous = EpochRecords(), EpochRecords()

    def start(self) -> None:
        """Begin a training epoch."""
        self._previous, self._current = self._current, EpochRecords()

    def add(self, outputs: Any, batch: Any) -> None:
        """Keep a batch.

        Raises:
            TypeError: the step did not return a :class:`~oahier.types.StepOutput`.
        """
        output = as_step_output(outputs, type(self).__name__)
        labels = {f"batch/targets/{name}": values for name, values in (batch.get("targets") or {}).items()}
        self._current.add(
            knee=output["knee"], subject=output["subject"], embedding=output["embedding"].flatten(1), **labels
        )

    def gather(self, trainer: L.Trainer) -> EpochTable:
        """The knees of this epoch; in mid-epoch, others as they were in the epoch before."""
        table = self._current.gather(trainer)
        return table if trainer.is_last_batch else _newest(self._previous.gather(trainer), table)


def _newest(older: EpochTable, newer: EpochTable) -> EpochTable:
    """Rows of both; a knee that is in both counts as in the newer one."""
    if len(older) == 0 or len(newer) == 0:
        return newer if len(newer) else older
    both = EpochRecords()
    for table in (older, newer):  # the last record of a knee is kept
        both.add(knee=table.knee, subject=table.subject, **table.columns)
    return both.gather()
