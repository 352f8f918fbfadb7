"""``oahier data readings``: agreement of readers, their matrices, and the consensus of each knee."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from oahier.cli.next_steps import say_next
from oahier.cli.options import checked, names
from oahier.cli.parser import ArgumentParser
from oahier.data import Manifest, read_manifest
from oahier.data.manifest.targets import classes_of
from oahier.files import frame_csv, write_atomically
from oahier.hierarchy import FINE
from oahier.noise import ADJUDICATED_BLOCKS, ReaderEstimate, dawid_skene
from oahier.pages.text import from_to
from oahier.types import MISSING


def readings_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = ArgumentParser(
        prog="oahier data readings",
        description="Compare readings of the same knees, estimate how each reader errs and what the truth is "
        "(Dawid and Skene). Matrices are estimated from training knees where the manifest has splits.",
    )
    parser.add_argument("manifest", type=str, help="the manifest's CSV file")
    parser.add_argument("--columns", type=str, default=f"{FINE},{FINE}_2", help="readings of one level")
    parser.add_argument("--truth", type=str | None, default=None, help="column of the truth, where known")
    parser.add_argument(
        "--adjudicated", action="store_true", help="readers never leave {0, 1} and {2, 3, 4}, as in the OAI"
    )
    parser.add_argument("--smoothing", type=float, default=1.0, help="pseudo-readings of each true grade")
    parser.add_argument(
        "--resamples", type=int, default=200, help="bootstrap resamples of subjects, for the intervals"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--out", type=str | None, default=None, help="manifest to write, with the consensus")
    parser.add_argument("--table", type=str | None, default=None, help="CSV file of the readers' matrices")
    return parser


def run(words: list[str]) -> int:
    """Print the tables and write what was asked for.

    Raises:
        ManifestError: a manifest that cannot be read, or no such column.
        ValueError: columns of different levels, one reading only, or readings in different blocks.
    """
    options = readings_parser().parse_args(words)
    checked("--resamples", options.resamples, 2)
    if not options.smoothing > 0:
        raise ValueError(f"--smoothing: expected a number above 0, got {options.smoothing}")
    manifest = read_manifest(options.manifest)
    columns = names(options.columns)
    sizes = {classes_of(name) for name in columns}
    size = sizes.pop() if len(sizes) == 1 else None
    if size is None or len(set(columns)) != len(columns):
        raise ValueError(f"--columns: expected readings of one level, such as kl,kl_2, got {options.columns}")
    if options.adjudicated and size != len(ADJUDICATED_BLOCKS):
        raise ValueError(f"--adjudicated is for {len(ADJUDICATED_BLOCKS)} grades, {columns[0]} has {size}")
    readings = np.column_stack([manifest.labels(name) for name in columns]).astype(np.int64)
    table = manifest.table
    estimate = dawid_skene(
        readings,
        size,
        blocks=ADJUDICATED_BLOCKS if options.adjudicated else None,
        truth=None if options.truth is None else manifest.labels(options.truth).astype(np.int64),
        fit=(table["split"] == "train").to_numpy() if manifest.has_splits else None,
        subjects=table["subject"].to_numpy(),
        smoothing=options.smoothing,
        resamples=options.resamples,
        seed=options.seed,
    )
    _print(estimate, columns, readings, options.truth)
    if options.table:
        print(f"wrote {write_atomically(options.table, frame_csv(matrix_table(estimate, columns)))}")
    if options.out:
        made = with_consensus(manifest, estimate, columns[0], (readings != MISSING).any(axis=1))
        print(f"wrote {made.write(Path(options.out)).path}")
        target = f"{columns[0]}_consensus"
        say_next((["init", "--manifest", options.out], f"train with target={target} of a head"))
    else:
        say_next((["data", "readings", *words, "--out", "consensus.csv"], "write the consensus"))
    return 0


def matrix_table(estimate: ReaderEstimate, columns: Sequence[str]) -> pd.DataFrame:
    """A row a reader, true class and class that is read, with a 95 % interval."""
    low, high = estimate.matrix_intervals
    cells = itertools.product(*(range(size) for size in estimate.matrices.shape))
    rows = [(columns[at[0]], *at[1:], estimate.matrices[at], low[at], high[at]) for at in cells]
    return pd.DataFrame(rows, columns=["reader", "truth", "read", "probability", "ci_low", "ci_high"])


def with_consensus(manifest: Manifest, estimate: ReaderEstimate, column: str, known: np.ndarray) -> Manifest:
    """A copy with ``<column>_consensus`` (class), ``expected_<column>`` and ``posterior_<column>_0``, ..."""
    posterior = np.where(known[:, None], estimate.posterior, np.nan)
    expected = posterior @ np.arange(posterior.shape[1])
    classes = np.where(known, estimate.posterior.argmax(axis=1).astype(str), "")
    made = {f"{column}_consensus": classes, f"expected_{column}": expected.round(4)}
    made |= {f"posterior_{column}_{grade}": values.round(5) for grade, values in enumerate(posterior.T)}
    return replace(manifest, table=manifest.table.assign(**made))


def _print(estimate: ReaderEstimate, columns: Sequence[str], readings: np.ndarray, truth: str | None) -> None:
    console = Console(soft_wrap=False, highlight=False)
    table = Table(
        "readers", "knees", "exact agreement", "weighted kappa", box=box.SIMPLE_HEAD, show_edge=False
    )
    for a, b in itertools.combinations(range(len(columns)), 2):
        both = int((readings[:, [a, b]] != MISSING).all(axis=1).sum())
        low, high = estimate.agreement_intervals[:, a, b]
        shown = [
            "undefined (no two grades)" if np.isnan(value) else f"{value:.3f} ({from_to(below, above)})"
            for value, below, above in zip(estimate.agreement[a, b], low, high, strict=True)
        ]
        table.add_row(f"{columns[a]}, {columns[b]}", str(both), *shown)
    if table.rows:
        console.print(table)
    for name, matrix, low, high in zip(columns, estimate.matrices, *estimate.matrix_intervals, strict=True):
        table = Table(f"{name}: truth", box=box.SIMPLE_HEAD, show_edge=False)
        for grade in range(len(matrix)):
            table.add_column(f"reads {grade}", justify="right")
        for grade, row in enumerate(matrix):
            cells = zip(row, low[grade], high[grade], strict=True)
            table.add_row(
                str(grade),
                *(f"{p:.2f} [{below:.2f}, {above:.2f}]" if p > 5e-4 else "" for p, below, above in cells),
            )
        console.print(table)
    console.print("95 % intervals: subjects resampled, percentiles")
    if not estimate.identified:
        console.print(
            f"[yellow]{len(columns)} readings"
            f"{'' if truth is None else ' and these known truths'} do not identify the matrices[/]: they "
            "depend on the smoothing, which no interval shows. A third reading does, or knees of every "
            "grade whose truth is known (--truth)",
            soft_wrap=True,
        )
