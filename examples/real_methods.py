"""Several methods and a measured joint gap on the same knees and folds: one table.

    python examples/real_methods.py knees.csv --covariate gap_mm --seeds 1 --folder runs/real-methods \
        --config examples/real_knees.yaml --data.split.val 0

The methods are those of ``real_methods.yaml`` (``--methods`` takes another file), each laid over the options
that go to ``oahier fit``; all have the same folds. Seeds come one after the other, in each the folds, in each
all methods, and a table follows each seed; a fold that is finished is not run again, so the same command
goes on after an interruption. Probabilities of several seeds are averaged.

Values are of the pooled held-out predictions; differences from the ordinal logistic regression on the
covariate and from the first method are paired by knee, with 95 % intervals over subjects, and p values
corrected over all differences of the table (Benjamini-Hochberg). ``table.csv`` has all their columns.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from cross_validate import GRADES, run_fold, without_splits
from real_knees import STRETCHED, averaged, ordinal_regression
from rich.console import Console
from rich.table import Table

from oahier.data import read_manifest
from oahier.files import write_atomically
from oahier.metrics import Decoding
from oahier.specs import build
from oahier.statistics import (
    Comparison,
    adjust_comparisons,
    compare_predictions,
    parse_predictions,
    write_table,
)

METHODS = Path(__file__).with_name("real_methods.yaml")
METRICS = {"qwk": "QWK", "macro_auc": "macro AUC", "severe_auc": "AUC (KL >= 3)", "mae": "MAE"}


@dataclass(frozen=True)
class Method:
    """What one method changes in the configuration, and how it decides on grades."""

    name: str
    config: Mapping[str, Any]
    decoding: Decoding = STRETCHED

    @property
    def folder(self) -> str:
        """A file name."""
        return "-".join(self.name.replace(",", " ").split())


def read_methods(path: Path) -> list[Method]:
    """The methods of a file, in its order."""
    found = []
    for name, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        config = dict(entry or {})
        rule = config.pop("decoding", None)
        found.append(Method(name, config, build(rule, Decoding) if rule else STRETCHED))
    return found


def held_out(
    methods: Sequence[Method], seeds: int, known: argparse.Namespace, options: list[str]
) -> dict[str, pd.DataFrame]:
    """Held-out predictions by method, mean of its seeds, with the grades that it decides on.

    Seed by seed and fold by fold, each with all methods, so that what is done after an interruption is
    balanced.
    """
    manifest = without_splits(known.manifest, known.folder)
    found: dict[str, list[pd.DataFrame]] = {method.name: [] for method in methods}
    for seed in range(seeds):
        folds: dict[str, list[pd.DataFrame]] = {method.name: [] for method in methods}
        for fold, method in itertools.product(range(known.folds), methods):
            config = known.folder / f"{method.folder}.yaml"
            write_atomically(config, yaml.safe_dump(dict(method.config)))
            words = [*options, f"--config={config}", f"--seed_everything={seed}"]
            run = known.folder / f"seed-{seed}" / method.folder
            folds[method.name].append(run_fold(manifest, run, fold, known.folds, words))
        for name, tables in folds.items():
            found[name].append(pd.concat(tables, ignore_index=True))
    return {method.name: graded(averaged(found[method.name]), method.decoding) for method in methods}


def graded(table: pd.DataFrame, rule: Decoding) -> pd.DataFrame:
    """The knees with a grade, and the grades that a rule decides on."""
    return decided(table.dropna(subset=["label_kl"]).reset_index(drop=True), rule)


def decided(table: pd.DataFrame, rule: Decoding) -> pd.DataFrame:
    """The table with the grades that a rule decides on."""
    return table.assign(pred_kl=rule.decide(table[GRADES].to_numpy()))


def differences(
    tables: Mapping[str, pd.DataFrame], reference: str, others: Sequence[str]
) -> list[Comparison]:
    """Each of the others minus the reference, by every metric of the grades."""
    read = {name: parse_predictions(tables[name].to_dict("list"), name) for name in (reference, *others)}
    return [
        replace(row, model_a=reference, model_b=name)
        for name in others
        for row in compare_predictions([read[reference]], [read[name]], metrics=list(METRICS))
        if row.task == "KL"
    ]


def compare(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Comparison]:
    """All minus the covariate, which is the first table, and minus the first method, corrected."""
    covariate, first, *others = tables
    found = differences(tables, covariate, [first, *others])
    if others:
        found += differences(tables, first, others)
    rows = adjust_comparisons(found)
    write_table(folder / "table.csv", rows)
    return rows


def omitted(table: pd.DataFrame) -> str:
    """Grades that were decided on for no knee."""
    missing = sorted(set(range(5)) - set(table["pred_kl"].astype(int)))
    return ", ".join(map(str, missing)) or "none"


def report(rows: Sequence[Comparison], tables: Mapping[str, pd.DataFrame], seeds: int) -> Table:
    """Values of each, then differences with intervals; * where the corrected p is below .05."""
    found = {(row.model_a, row.model_b, row.metric): row for row in rows}
    covariate, first, *_ = tables
    one = next(iter(rows))
    title = f"{one.n} held-out knees of {one.subjects} subjects, {seeds} training{'s' * (seeds > 1)} a fold"
    shown = Table("method", title=title, title_justify="left")
    for name in (*METRICS.values(), "omitted"):
        shown.add_column(name, no_wrap=True)
    for name in tables:
        pair = [found[covariate, first if name == covariate else name, metric] for metric in METRICS]
        values = [row.a if name == covariate else row.b for row in pair]
        shown.add_row(name, *(f"{value:.3f}" for value in values), omitted(tables[name]))
    for reference in (covariate, first):
        shown.add_section()
        for name in tables:
            if (reference, name, "qwk") in found:
                cells = [difference(found[reference, name, metric]) for metric in METRICS]
                shown.add_row(f"{name} minus {reference}", *cells, "")
    return shown


def difference(row: Comparison) -> str:
    """Difference, a star where it holds after correction, and below them the interval."""
    star = " *" * bool(np.less(row.p_adjusted, 0.05))
    return f"{row.difference:+.3f}{star}\n\\[{row.ci_low:+.3f}, {row.ci_high:+.3f}]"


def parsed(words: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Own options, and those of ``oahier fit``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--covariate", required=True, help="column of the manifest to compare with")
    parser.add_argument("--methods", type=Path, default=METHODS)
    parser.add_argument("--folder", type=Path, default=Path("runs/real-methods"))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1, help="trainings of every fold, averaged")
    return parser.parse_known_args(words)


def main(words: list[str] | None = None) -> list[Comparison]:
    """A table after each seed; returns the rows of the last."""
    known, options = parsed(words)
    column = read_manifest(known.manifest).table.set_index("knee")[known.covariate]
    methods, rows = read_methods(known.methods), []
    for seeds in range(1, known.seeds + 1):
        found = held_out(methods, seeds, known, options)
        number = pd.to_numeric(column, errors="coerce")
        tables = {known.covariate: ordinal_regression(found[methods[0].name], number), **found}
        rows = compare(tables, known.folder)
        Console(width=max(100, Console().width)).print(report(rows, tables, seeds))
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
