"""Grades by the rule of decision that one metric asks for, in every metric, table and figure."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from typing_extensions import override

from oahier.gathering import EpochTable, gathering_of
from oahier.metrics import Decoding, MostProbable
from oahier.specs import Specified, describe


class GradeDecoding(Specified, L.Callback):
    """Decides the grade of every head with more than two classes by one rule.

    Validation, test and prediction: ``kl/accuracy``, ``kl/mae`` and ``kl/qwk``, ``pred_kl`` and the confusion
    matrix have these grades; probabilities, severity, losses and weights stay. ``predictions.csv``,
    ``metrics.json`` and the final table name the rule. Checkpoints keep it for predictions of new scans; in
    validation and test the rule of the callback counts.

    Args:
        decoding: the rule, for example :class:`~oahier.metrics.WeightedMedian`.

    Raises:
        TypeError: something that is no :class:`~oahier.metrics.Decoding`.
    """

    def __init__(self, decoding: Decoding) -> None:
        super().__init__()
        if not isinstance(decoding, Decoding):
            raise TypeError(
                "GradeDecoding: decoding: expected an oahier.metrics.Decoding such as WeightedMedian(), "
                f"got {decoding!r}"
            )
        self.decoding = decoding

    @override
    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        gathering_of(trainer).decoded = Decoded(self.decoding)

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"decoding": describe(self.decoding)}


class Decoded:
    """The table of an epoch with grades by a rule of decision."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding

    def __call__(self, table: EpochTable) -> EpochTable:
        columns = dict(table.columns)
        for column, values in table.columns.items():
            head, _, what = column.rpartition("/")
            if what == "probabilities" and values.shape[1] > 2:
                decided = self.decoding.decide(values.double().numpy())
                columns[f"{head}/predicted"] = torch.from_numpy(decided)
        return EpochTable(table.knee, table.subject, columns)


def rule_of(trainer: L.Trainer) -> Decoding:
    """The rule that the grades of the running stage have."""
    decoded = gathering_of(trainer).decoded
    return decoded.decoding if isinstance(decoded, Decoded) else MostProbable()
