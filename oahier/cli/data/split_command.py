"""``oahier data split``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oahier.cli.next_steps import say_next
from oahier.cli.options import checked, names
from oahier.cli.parser import ArgumentParser
from oahier.data import Folds, Manifest, ManifestError, Problem, SplitFractions
from oahier.data.manifest.manifest import read_cells
from oahier.data.splitting.balance import Balance, balance_of, category_name, class_column

_TEST, _WITH_SHARES = 0.15, 4
FOLD = "fold"
"""Column of the fold that tests the knee."""


def split_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = ArgumentParser(
        prog="oahier data split",
        description="Assign subjects to training, validation and test, or to folds, balanced by grade; "
        "prints the balance reached. Refuses to leave a grade out of a split.",
    )
    parser.add_argument("manifest", type=str, help="the manifest's CSV file")
    parser.add_argument("out", type=str, help="CSV file to write; with --folds the folder of the folds")
    parser.add_argument("--val", type=float, default=0.15, help="share of the knees for validation")
    parser.add_argument("--test", type=float, default=None, help="share of the knees for testing (0.15)")
    parser.add_argument("--folds", type=int, default=None, help="make folds: OUT/fold-0.csv, fold-1.csv, ...")
    parser.add_argument("--stratify", type=str, default="kl", help="columns to balance, such as kl,sex")
    parser.add_argument("--seed", type=int, default=0, help="the same gives the same splits")
    parser.add_argument("--keep-test", action="store_true", help="leave the test knees that there are")
    parser.add_argument("--allow-missing-class", action="store_true", help="let a split go without a grade")
    parser.add_argument("--overwrite", action="store_true", help="replace what OUT holds")
    return parser


def run(words: list[str]) -> int:
    """Write the manifests and print the balance.

    Raises:
        ManifestError: a manifest that cannot be read or split.
        ValueError: options that contradict one another.
        FileExistsError: the output is there and may not be replaced.
    """
    options = split_parser().parse_args(words)
    if options.keep_test and (options.test is not None or options.folds is not None):
        raise ValueError("--keep-test keeps the test knees: leave --test and --folds out")
    if options.folds is not None and options.test is not None:
        raise ValueError("--folds tests every knee in one of them: leave --test out")
    manifest = _unsplit(options.manifest, options.keep_test)
    stratify = names(options.stratify)
    make = _folds if options.folds is not None else _parts
    made, balance = make(manifest, options, stratify)
    for path in made:
        if path.exists() and not options.overwrite:
            raise FileExistsError(f"{path} is there already; choose another name or give --overwrite")
    console = Console(soft_wrap=False)
    console.print(_table(balance))
    if balance.largest:
        console.print(f"largest deviation: {escape(str(balance.largest))}")
    for gap in balance.missing:
        console.print(f"[yellow]{escape(gap.name)} is left out of {escape(gap.part)}[/yellow]")
    for path, part in made.items():
        part.write(path)
        print(f"wrote {path}")
    what = "configurations to train with" + ("" if len(made) == 1 else ", for the first fold")
    say_next((["init", "--manifest", next(iter(made))], what))
    return 0


def _unsplit(source: str, keep_test: bool) -> Manifest:
    """The manifest without the splits that it has, which may be what is wrong with it."""
    path, cells, problems = read_cells(source)
    if problems:
        raise ManifestError(path, problems)
    if not keep_test:
        cells = cells.drop(columns="split", errors="ignore")
    return Manifest.from_table(cells, path.parent, path)


def _parts(manifest: Manifest, options: Any, stratify: Sequence[str]) -> tuple[dict[Path, Manifest], Balance]:
    """One manifest with training, validation and test knees."""
    shared = {"stratify": stratify, "allow_missing_class": options.allow_missing_class}
    if options.keep_test:
        if not len(manifest.subset("test")):
            message = "--keep-test: expected knees of the split 'test', got none; leave the option out"
            raise ManifestError(manifest.name, [Problem(message, column="split")])
        made = manifest.with_validation(options.val, options.seed, **shared)
        test = len(made.subset("test")) / len(made)
        rest = 1 - test
        wanted = {"train": rest * (1 - options.val), "val": rest * options.val, "test": test}
    else:
        plan = SplitFractions(options.val, _TEST if options.test is None else options.test)
        made = manifest.with_splits(plan, options.seed, **shared)
        wanted = dict(plan.shares)
    columns = [class_column(made.table), *stratify]
    return {Path(options.out): made}, balance_of(made.table, columns, wanted)


def _folds(manifest: Manifest, options: Any, stratify: Sequence[str]) -> tuple[dict[Path, Manifest], Balance]:
    """A manifest for each fold, and the balance of their test sets."""
    count = checked("--folds", options.folds, 2)
    shared = {"stratify": stratify, "allow_missing_class": options.allow_missing_class}
    parts = [
        manifest.with_splits(Folds(number, count, options.val), options.seed, **shared)
        for number in range(count)
    ]
    fold = sum((part.table["split"] == "test").astype(int) * number for number, part in enumerate(parts))
    table = manifest.table.assign(split="fold " + pd.Series(fold, index=manifest.table.index).astype(str))
    wanted = {f"fold {number}": 1 / count for number in range(count)}
    balance = balance_of(table, [class_column(table), *stratify], wanted)
    made = {
        Path(options.out, f"fold-{number}.csv"): replace(part, table=part.table.assign(**{FOLD: fold}))
        for number, part in enumerate(parts)
    }
    return made, balance


def _table(balance: Balance) -> Table:
    """Counts of every category in every split; with few splits also their shares."""
    with_shares = len(balance.parts) <= _WITH_SHARES
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for part in (*balance.parts, "all"):
        table.add_column(part, justify="right")
    group = ""
    for _, row in balance.table.iterrows():
        if row["group"] not in (group, "knees", "subjects"):
            table.add_section()
        group = row["group"]
        name = category_name(group, row["value"])
        cells = [
            f"{row[part]} {row[part] / max(row['all'], 1):6.1%}" if with_shares else str(row[part])
            for part in balance.parts
        ]
        table.add_row(escape(name), *cells, str(row["all"]))
    return table
