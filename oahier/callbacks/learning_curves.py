"""Learning curves as a table and a picture, whatever loggers a run has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from oahier.callbacks.figures import curves_picture
from oahier.callbacks.files import write_figure, write_rows
from oahier.callbacks.keys import run_directory
from oahier.callbacks.loggers import log_picture

Row = dict[str, float]


class LearningCurves(L.Callback):
    """Records the logged training and validation values of each epoch, and draws some of them.

    Writes ``learning_curves.csv`` after each validation and each epoch: ``epoch`` (from 1), ``step``
    (optimizer steps done) and a column for every logged name; an empty cell is a value that was not logged
    then, or is undefined. Draws ``pictures/learning_curves.png``, a panel for the losses and one for each
    head. Rows are kept in checkpoints, so a resumed run continues its curves.

    Args:
        measures: measures to draw for each head, where they exist. All logged values are in the table.
        figure_every_n_epochs: draw in every n-th epoch and at the end; 0 draws none.

    Raises:
        ValueError: ``figure_every_n_epochs`` is negative.
    """

    def __init__(
        self,
        measures: Sequence[str] = ("qwk", "macro_auc", "auc", "accuracy"),
        figure_every_n_epochs: int = 5,
    ) -> None:
        super().__init__()
        if figure_every_n_epochs < 0:
            raise ValueError(
                f"LearningCurves: figure_every_n_epochs must be 0 or more, got {figure_every_n_epochs}"
            )
        self.measures = tuple(measures)
        self.figure_every_n_epochs = figure_every_n_epochs
        self.rows: list[Row] = []
        self._drawn: Row = {}

    @property
    @override
    def state_key(self) -> str:
        return self._generate_state_key(measures=self.measures)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(row) for row in self.rows]}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict["rows"]]

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what a repeated or resumed run will train again."""
        self.rows = [row for row in self.rows if row["step"] <= trainer.global_step > 0]

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._record(trainer, "val/")

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._record(trainer, "train/")
        every = self.figure_every_n_epochs
        if every and trainer.current_epoch % every == 0:
            self._draw(trainer)

    @override
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.figure_every_n_epochs:
            self._draw(trainer)

    def _record(self, trainer: L.Trainer, prefix: str) -> None:
        logged = trainer.callback_metrics  # on every process: reading may reduce over them
        values = {name: float(value) for name, value in logged.items() if name.startswith(prefix)}
        place = {"epoch": float(trainer.current_epoch + 1), "step": float(trainer.global_step)}
        if self.rows and self.rows[-1]["step"] == place["step"] and self.rows[-1]["epoch"] == place["epoch"]:
            self.rows[-1].update(values)
        else:
            self.rows.append(place | values)
        if trainer.is_global_zero:
            names = sorted({name for row in self.rows for name in row} - {"epoch", "step"})
            cells = [
                [int(row["epoch"]), int(row["step"]), *(row.get(name) for name in names)] for row in self.rows
            ]
            write_rows(run_directory(trainer) / "learning_curves.csv", ["epoch", "step", *names], cells)

    def _draw(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero and self.rows and self.rows[-1] != self._drawn:
            self._drawn = dict(self.rows[-1])
            panels, across = curve_panels(self.rows, self.measures)
            path = run_directory(trainer) / "pictures" / "learning_curves.png"
            log_picture(trainer, "learning_curves", write_figure(path, curves_picture(panels, across)))


def curve_panels(
    rows: Sequence[Row], measures: Sequence[str]
) -> tuple[dict[str, dict[str, list[tuple[float, float]]]], str]:
    """Sort recorded values into panels: the losses, then one panel a head with its chosen measures.

    Args:
        rows: recorded values, with ``epoch`` and ``step``.
        measures: names to draw for heads, in this order.

    Returns:
        Points by panel and label, and what they run over: epochs, or steps if epochs have several rows.

    >>> rows = [{"epoch": 1.0, "step": 9.0, "train/loss": 2.0, "val/loss": 3.0, "val/kl/qwk": 0.5}]
    >>> curve_panels(rows, ["qwk"])[0]["kl"]
    {'val qwk': [(1.0, 0.5)]}
    """
    across = "epoch" if len({row["epoch"] for row in rows}) == len(rows) else "step"
    names = sorted({name for row in rows for name in row})
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    losses = sorted(
        (name for name in names if name.endswith("/loss")),
        key=lambda name: (name.split("/")[0], name.count("/"), name),
    )
    for name in [*losses, *_by_measure(names, measures)]:
        stage, *group, measure = name.split("/")
        title = "loss" if measure == "loss" else " ".join(group)
        label = f"{stage} {' '.join([*group, measure]) if measure == 'loss' else measure}"
        panels.setdefault(title, {})[label] = [(row[across], row[name]) for row in rows if name in row]
    return panels, across


def _by_measure(names: Sequence[str], measures: Sequence[str]) -> list[str]:
    """Names ``stage/head/measure`` of the chosen measures, by head, then in the order of the choice."""
    chosen = [name for name in names if name.count("/") == 2 and name.rsplit("/", 1)[1] in measures]
    return sorted(chosen, key=lambda name: (name.split("/")[1], measures.index(name.rsplit("/", 1)[1]), name))
