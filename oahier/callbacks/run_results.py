"""Results of a stage as tables, the headline first, and the checkpoint that they are of."""

from __future__ import annotations

import html
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from lightning.pytorch.trainer.states import TrainerFn

from oahier.callbacks.grade_decoding import rule_of
from oahier.callbacks.keys import Stage, stage_directory
from oahier.callbacks.learning_curves import LearningCurves
from oahier.callbacks.run_folder import BEST
from oahier.callbacks.step_recorder import recorders_of
from oahier.data import PairedVisits
from oahier.gathering import gathering_of
from oahier.hierarchy import head_label
from oahier.metrics import find_metrics, registered
from oahier.model.checkpoints import epochs_and_steps
from oahier.pages.text import from_to

if TYPE_CHECKING:
    import lightning as L
    from rich.console import Group

_CASES = {
    "auc": "AUC", "auroc": "AUROC", "auprc": "AUPRC", "iou": "IoU", "dice": "Dice",
    "spearman": "Spearman", "pointing": "pointing game",
}  # fmt: skip
"""Words of names of metrics that are not written in small letters."""
HEADLINE = ("qwk", "auc", "accuracy", "mae")
"""Metrics of the first table, in this order."""
COUNTS = ("knees", "subjects")
COLUMNS = ["head", "metric", "value", "low", "high", "interval"]


@dataclass(frozen=True, eq=False)
class Results:
    """Results of a stage; shown as tables in a notebook, and as text by ``print``.

    Args:
        title: stage, knees and checkpoint, in words.
        table: a row a value: ``head`` (or what else was measured), ``metric``, ``value``, and the 95 %
            interval ``low``, ``high`` (NaN where there is none; ``interval``: there is to be one). What
            no knee defines (the overlap where none has a label map) is left out.
        folder: of the stage's files.
        notes: how grades were decided.
    """

    title: str
    table: pd.DataFrame
    folder: Path
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> pd.DataFrame:
        """QWK and AUC; accuracy and mean absolute error of the grades (else of the decision)."""
        heads = {name: set(self.table.loc[self.table["metric"] == name, "head"]) for name in HEADLINE}
        graded = heads["qwk"] or heads["auc"]
        ranks = {}
        for index, (head, metric) in zip(
            self.table.index, self.table[["head", "metric"]].values, strict=True
        ):
            implied = not heads["auc"] and head in graded and find_metrics(metric.partition("_")[2])
            name = "auc" if implied and metric.endswith("_auc") and not find_metrics(metric) else metric
            if name in HEADLINE and (head in graded or name == "auc"):
                ranks[index] = HEADLINE.index(name)
        return self.table.loc[sorted(ranks, key=lambda index: ranks[index])]

    @property
    def _columns(self) -> list[str]:
        """Columns as they are shown; that of the intervals only where there are some."""
        return ["head", "metric", "value", *(["95 % interval"] if self.table["interval"].any() else [])]

    def rendered(self) -> Group:
        """Both tables for rich's console."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        tables = []
        for title, rows in (("Headline", self.headline), ("All metrics", self.table)):
            shown = Table(title=title, title_justify="left")
            for column in self._columns:
                shown.add_column(column, justify="left" if column in COLUMNS[:2] else "right")
            previous = None
            for head, *cells in _cells(rows, len(self._columns)):
                if rows is self.table and previous is not None and head != previous:
                    shown.add_section()
                shown.add_row("" if head == previous else Text(head), *map(Text, cells))
                previous = head
            tables += [shown] * bool(len(rows))
        return Group(Text(self.title, style="bold"), *tables, *map(Text, self.notes))

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=110).print(self.rendered())
        return text.getvalue()

    def _repr_html_(self) -> str:
        def table(rows: pd.DataFrame) -> str:
            cells = _cells(rows, len(self._columns))
            return str(pd.DataFrame(cells, columns=self._columns).to_html(index=False, border=0))

        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return (
            f"<p><b>{html.escape(self.title)}</b></p>{table(self.headline)}{notes}"
            f"<details><summary>all metrics</summary>{table(self.table)}</details>"
        )


def results(trainer: L.Trainer) -> Results:
    """Results of what a trainer has just done: test, validation, or the best epoch of a training.

    Args:
        trainer: after ``trainer.test``, ``validate`` or ``fit``. Intervals and numbers of knees are there
            with :class:`~oahier.callbacks.OrdinalMetrics`; after a fit, values are those of the best epoch
            with :class:`~oahier.callbacks.LearningCurves`, else of the last.

    Raises:
        ValueError: it has done nothing that has results.

    >>> import lightning as L
    >>> results(L.Trainer(logger=False, barebones=True))
    Traceback (most recent call last):
    ...
    ValueError: results: the trainer has logged nothing; call trainer.test or trainer.fit first
    """
    stage: Stage = "test" if trainer.state.fn == TrainerFn.TESTING else "val"
    fitted = trainer.state.fn == TrainerFn.FITTING
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    values = {name: value for name, value in logged.items() if name.startswith(f"{stage}/")}
    if not values:
        raise ValueError("results: the trainer has logged nothing; call trainer.test or trainer.fit first")
    folder = stage_directory(trainer, stage)
    facts: dict[str, Any] = {}
    if (folder / "metrics.json").is_file():
        facts = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    model = f"epoch {trainer.current_epoch} of {trainer.max_epochs}, the last"
    if not fitted and trainer.ckpt_path:
        model = f"{Path(trainer.ckpt_path).name}{_after(Path(trainer.ckpt_path))}"
    elif not fitted:
        model = "the weights in memory"
    elif best := _best_epoch(trainer, stage):
        values, model = best
    pairs = isinstance(getattr(trainer, "datamodule", None), PairedVisits)
    words = {"knees": "pairs of visits"} if pairs else {}
    counts = " of ".join(f"{facts[name]} {words.get(name, name)}" for name in COUNTS if name in facts)
    split = {"val": "validation"}.get(stage, stage)
    notes = [f"decisions of {line}" for line in getattr(gathering_of(trainer).calibrated, "decided", ())]
    if any(name.endswith("/qwk") for name in values):
        notes.append(f"grades: {rule_of(trainer).describe()}")
    found = results_table(values, {} if fitted else facts.get("intervals", {}))
    if found["value"].isna().any():
        notes.append("undefined: these knees do not define it (a grade or class without knees)")
    notes += _instruments(trainer)
    title = f"Results on the {split} split{f', {counts}' if counts else ''}: {model}"
    return Results(title, found, folder, tuple(notes))


def _instruments(trainer: L.Trainer) -> list[str]:
    """What the instruments of a test say in a sentence, and how long those took that took a second."""
    if trainer.state.fn != TrainerFn.TESTING:
        return []
    recorders = recorders_of(trainer)
    told = [recorder.told for recorder in recorders if recorder.told]
    slow = [one for one in recorders if one.seconds >= 1]
    if slow:
        told.append(f"time: {', '.join(f'{one.name} {one.seconds:.0f} s' for one in slow)}")
    return told


def results_table(values: Mapping[str, float], known: Mapping[str, Sequence[float | None]]) -> pd.DataFrame:
    """Values of a stage as rows, in groups by name, registered metrics before what else is logged.

    Args:
        values: by ``stage/group/metric``.
        known: intervals by the same keys, ``None`` where undefined.

    >>> results_table({"test/kl/qwk": 0.7, "test/saliency/iou": math.nan}, {"test/kl/qwk": [0.6, 0.8]})
      head metric  value  low  high  interval
    0   kl    qwk    0.7  0.6   0.8      True
    """
    ranks = {metric.name: rank for rank, metric in enumerate(registered())}
    keys = {key: key.split("/")[1:] for key in values}
    heads = {tuple(group) for *group, metric in keys.values() if metric in ranks}
    measured = {
        tuple(group)
        for key, (*group, metric) in keys.items()
        if metric not in COUNTS and not math.isnan(values[key])
    }
    rows = []
    for key, (*group, metric) in sorted(keys.items(), key=lambda item: _rank(ranks, item[1])):
        if tuple(group) in measured and (tuple(group) in heads or not math.isnan(values[key])):
            interval = [math.nan if end is None else end for end in known.get(key, (None, None))]
            rows.append(["/".join(group), metric, values[key], *interval, key in known])
    return pd.DataFrame(rows, columns=COLUMNS)


def _rank(ranks: Mapping[str, int], key: Sequence[str]) -> tuple[bool, list[str], int, str]:
    *group, metric = key
    return bool(group), group, ranks.get(metric, len(ranks)), metric


def _cells(rows: pd.DataFrame, columns: int) -> Iterator[tuple[str, ...]]:
    for head, metric, value, low, high, known in rows[COLUMNS].itertuples(index=False):
        cells = head, _title(metric), _number(metric, value), from_to(low, high) if known else ""
        yield cells[:columns]


def _number(metric: str, value: float) -> str:
    """Three digits; counts whole, small and large numbers by their first digits.

    >>> _number("qwk", 0.71234), _number("knees", 98.0), _number("loss", 1e-7), _number("qwk", math.nan)
    ('0.712', '98', '1e-07', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    if metric in COUNTS:
        return f"{value:.0f}"
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.3g}"


def _title(metric: str) -> str:
    """The label of a metric; of a coarser level that the grades imply, with its name before it.

    >>> _title("qwk"), _title("oa_auc"), _title("stage_macro_auc"), _title("oa_kl_cosine_chance")
    ('QWK', 'OA AUC', 'stage macro AUC', 'OA KL cosine chance')
    """
    known = find_metrics(metric)
    if known:
        return known[0].title
    words = metric.split("_")
    for count in range(1, len(words)):
        implied = find_metrics("_".join(words[count:]))
        if implied:
            return f"{head_label('_'.join(words[:count]))} {implied[0].title}"
    return " ".join(_CASES.get(word, head_label(word)) for word in words)


def _after(checkpoint: Path) -> str:
    """Epochs of a checkpoint, in words."""
    made = epochs_and_steps(checkpoint)
    return f", after {made['epoch']} epochs" if made else ""


def _best_epoch(trainer: L.Trainer, stage: Stage) -> tuple[dict[str, float], str] | None:
    """The values of the epoch of ``best.ckpt``, where the learning curves have them."""
    path = Path(getattr(trainer.checkpoint_callback, "best_model_path", "") or "")
    curves = [one for one in trainer.callbacks if isinstance(one, LearningCurves)]  # type: ignore[attr-defined]
    if path.name != BEST or not path.is_file() or not curves:
        return None
    step = epochs_and_steps(path)["step"]
    rows = [row for row in curves[0].rows if row["step"] == step]
    if not rows:
        return None
    values = {key: value for key, value in rows[-1].items() if key.startswith(f"{stage}/")}
    return values, f"{BEST}, after {rows[-1]['epoch']:.0f} of {trainer.max_epochs} epochs"
