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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from cross_validate import GRADES, measured, parser, read_covariate, run_fold, without_splits
from real_knees import STRETCHED, averaged, ordinal_regression
from rich.console import Console
from rich.table import Table

from oahier.files import write_atomically
from oahier.metrics import Decoding
from oahier.specs import build, import_class
from oahier.specs.errors import nearest
from oahier.statistics import (
    Comparison,
    adjust_comparisons,
    compare_predictions,
    parse_predictions,
    write_table,
)
from oahier.study.configuration import RUN_SECTIONS

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
    """The methods of a file, in its order.

    Raises:
        SystemExit: it has something else than methods.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not all(isinstance(one or {}, dict) for one in content.values()):
        raise SystemExit(
            f"{path}: expected names of methods, below each what it changes in the configuration"
        )
    found = []
    for name, entry in content.items():
        config = dict(entry or {})
        rule = config.pop("decoding", None)
        unknown = sorted(set(config).difference(RUN_SECTIONS))
        try:
            if unknown:
                raise ValueError(f"there is no section {unknown[0]!r}.{nearest(unknown[0], RUN_SECTIONS)}")
            for written in class_paths(config):
                import_class(written)
            found.append(Method(str(name), config, build(rule, Decoding) if rule else STRETCHED))
        except (TypeError, ValueError) as error:
            raise SystemExit(f"{path}: {name}: {error}") from error
        if len({one.folder for one in found}) < len(found):
            raise SystemExit(f"{path}: {name}: another method has the folder {found[-1].folder!r}; rename it")
    return found


def class_paths(config: Any) -> Iterator[str]:
    """Every class that a configuration names."""
    inner = (
        config.items() if isinstance(config, dict) else enumerate(config if isinstance(config, list) else ())
    )
    for key, value in inner:
        if key == "class_path":
            yield value
        yield from class_paths(value)


def keep_configurations(methods: Sequence[Method], folder: Path) -> None:
    """Write what each method changes into the folder.

    Raises:
        SystemExit: the folder has folds of a method that was another.
    """
    for method in methods:
        path, text = folder / f"{method.folder}.yaml", yaml.safe_dump(dict(method.config))
        trained = any(folder.glob(f"seed-*/{method.folder}/fold-*/config.yaml"))
        if trained and path.is_file() and path.read_text(encoding="utf-8") != text:
            raise SystemExit(
                f"{method.name}: trained as {path} says, which is another; take another --folder"
            )
        write_atomically(path, text)


def held_out(
    methods: Sequence[Method],
    seeds: int,
    covariate: pd.Series,
    known: argparse.Namespace,
    options: list[str],
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
            config = f"--config={known.folder / method.folder}.yaml"
            words = [*options, config, f"--seed_everything={seed}"]
            run = known.folder / f"seed-{seed}" / method.folder
            folds[method.name].append(run_fold(manifest, run, fold, known.folds, words))
        for name, tables in folds.items():
            found[name].append(pd.concat(tables, ignore_index=True))
    return {
        method.name: decided(measured(averaged(found[method.name]), covariate), method.decoding)
        for method in methods
    }


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
    if np.isnan([row.difference, row.ci_low, row.ci_high]).any():
        return f"{row.difference:+.3f}\nno interval"
    star = " *" * bool(np.less(row.p_adjusted, 0.05))
    return f"{row.difference:+.3f}{star}\n\\[{row.ci_low:+.3f}, {row.ci_high:+.3f}]"


def main(words: list[str] | None = None) -> list[Comparison]:
    """A table after each seed; returns the rows of the last."""
    options = parser(__doc__, "runs/real-methods", compares=True)
    options.add_argument("--methods", type=Path, default=METHODS)
    known, further = options.parse_known_args(words)
    number = read_covariate(known.manifest, known.covariate)
    methods, rows = read_methods(known.methods), []
    keep_configurations(methods, known.folder)
    for seeds in range(1, known.seeds + 1):
        found = held_out(methods, seeds, number, known, further)
        tables = {known.covariate: ordinal_regression(found[methods[0].name], number), **found}
        rows = compare(tables, known.folder)
        Console(width=max(100, Console().width)).print(report(rows, tables, seeds))
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
