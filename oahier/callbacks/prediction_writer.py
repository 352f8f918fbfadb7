"""Files with the predictions and the embedding of every knee, from which any later analysis starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
from typing_extensions import override

from oahier.callbacks.files import write_arrays, write_rows
from oahier.callbacks.grade_decoding import rule_of
from oahier.callbacks.keys import Stage, stage_directory
from oahier.callbacks.step_recorder import StepRecorder
from oahier.gathering import EpochTable
from oahier.metrics import Decoding, MostProbable, decisions
from oahier.statistics.columns import probability_columns, require_own_columns
from oahier.types import MISSING


class PredictionWriter(StepRecorder):
    """Writes ``predictions.csv`` and ``embeddings.npz``, one row a knee, sorted by knee.

    ``predictions.csv`` has ``knee, subject``, then for each head its label (``label_kl``, ``label_oa``; empty
    where unknown), its probabilities (``prob_oa``; ``prob_kl_0 ... prob_kl_4``), its decision (``pred_kl``,
    the grade by the rule in ``decoding_kl``, see :class:`~oahier.callbacks.GradeDecoding`; ``pred_oa``,
    P >= 0.5 or a threshold that
    :class:`~oahier.callbacks.DecisionCalibration` chose; empty after a diverged step) and, for grades,
    ``severity_kl``, the expected grade. Columns carry the names of the heads. ``embeddings.npz`` holds
    ``knee`` and ``embedding``, float32 ``(knees, features)``, and loads without pickle.

    Test files lie in the run's folder, those of the latest validation in ``validation/``, of prediction in
    ``predict/``.

    Raises:
        ValueError: the stage has several dataloaders, or two heads need a column of one name.
        TypeError: the steps do not return a :class:`~oahier.types.StepOutput`.
    """

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        if trainer.is_global_zero and len(table):
            write_predictions(stage_directory(trainer, stage), table, rule_of(trainer))


def write_predictions(folder: Path, table: EpochTable, decoding: Decoding | None = None) -> None:
    """Write ``predictions.csv`` and ``embeddings.npz`` of an epoch, whose grades have a rule."""
    columns = prediction_columns(table, decoding)
    write_rows(folder / "predictions.csv", list(columns), list(zip(*columns.values(), strict=True)))
    embedding = table["embedding"].float().numpy()
    write_arrays(folder / "embeddings.npz", knee=np.array(table.knee, dtype=np.str_), embedding=embedding)


def prediction_columns(table: EpochTable, decoding: Decoding | None = None) -> dict[str, Sequence[object]]:
    """The columns of ``predictions.csv`` by name; ``decoding`` is the rule that the grades have.

    Raises:
        ValueError: two heads need a column of one name, as ``kl`` (grade 2) and ``kl_2`` (two classes) do.
    """
    probabilities = {
        column.removesuffix("/probabilities"): table[column].double().numpy()
        for column in table
        if column.endswith("/probabilities")
    }
    names = {head: probability_columns(head, values.shape[1]) for head, values in probabilities.items()}
    require_own_columns(names)
    binary = [head for head, found in names.items() if len(found) == 1]
    graded = [head for head in names if head not in binary]
    columns: dict[str, Sequence[object]] = {"knee": table.knee, "subject": table.subject}
    for head in [*graded, *binary]:
        columns[f"label_{head}"] = _known(table[f"{head}/labels"].tolist())
    for head in [*binary, *graded]:
        columns |= dict(zip(names[head], probabilities[head].T[-len(names[head]) :].tolist(), strict=True))
    for head in [*graded, *binary]:
        decided = f"{head}/predicted"
        found = table[decided].numpy() if decided in table else decisions(probabilities[head])
        columns[f"pred_{head}"] = _known(found.tolist())
        if head in graded:
            columns[f"severity_{head}"] = table[f"{head}/severity"].tolist()
    rule = (decoding or MostProbable()).name
    columns |= {f"decoding_{head}": [rule] * len(table) for head in graded}
    return columns


def _known(classes: Sequence[int]) -> list[int | None]:
    return [None if value == MISSING else value for value in classes]
