"""``oahier compare``: two models, or a family of pairs, from their prediction files."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oahier.cli.options import checked
from oahier.metrics import registered
from oahier.statistics import Comparison, compare_predictions, read_predictions
from oahier.statistics.bootstrap import RESAMPLES, SEED
from oahier.statistics.correction import adjust_comparisons
from oahier.statistics.predictions import Predictions
from oahier.statistics.tables import write_table

_WIDE = 110
_NO_DELONG = (
    "No DeLong test: it needs the AUC of a head of two classes, one model a side and one knee a subject; "
    "the paired bootstrap was used instead."
)
_DESCRIPTION = """Compare two models on the same knees, by every metric of every head that both have.

A and B are each a prediction file, a folder that holds a predictions.csv, or a quoted pattern
whose matches are the seeds of one model:

  oahier compare single.csv dual.csv --out table.csv
  oahier compare 'runs/single_*/predictions.csv' 'runs/dual_*/predictions.csv'
  oahier compare --pair s1.csv d1.csv --pair s2.csv d2.csv --correction holm
"""


def run_compare_command(words: list[str]) -> int:
    """Compare, print the table and write it.

    Returns:
        0.

    Raises:
        ValueError: files that cannot be compared; see :func:`~oahier.statistics.compare_predictions`.
        OSError: a file cannot be read or written.
    """
    options = compare_parser().parse_args(words)
    pairs = _pairs(options)
    resamples = checked("--resamples", options.resamples, 1)
    seed = checked("--seed", options.seed, 0)
    rows: list[Comparison] = []
    without_subject: list[str] = []
    for name_a, name_b in pairs:
        a, b = _models(name_a), _models(name_b)
        without_subject += [model.source for model in (*a, *b) if not model.subject_given]
        rows += [
            replace(row, model_a=name_a, model_b=name_b)
            for row in compare_predictions(
                a,
                b,
                resamples=resamples,
                seed=seed,
                metrics=options.metrics,
                oa_from_kl=options.oa_from_kl,
                auc_test=options.auc_test,
                resampling="published" if options.published_order else "shared",
            )
        ]
    rows = adjust_comparisons(rows, options.correction)
    _print(rows, resamples, list(dict.fromkeys(without_subject)), delong=options.auc_test == "delong")
    if options.out is not None:
        Console().print(f"table: {write_table(options.out, rows)}", soft_wrap=True, markup=False)
    return 0


def compare_parser() -> ArgumentParser:
    """The options of the command."""
    parser = ArgumentParser(
        prog="oahier compare", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="A B", help="the two models")
    parser.add_argument(
        "--pair",
        nargs=2,
        action="append",
        default=[],
        metavar=("A", "B"),
        help="one pair of a family; repeat it",
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="bootstrap resamples (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the resampling (%(default)s)")
    parser.add_argument(
        "--oa-from-kl", action="store_true", help="score a model without an OA head on OA by P(KL >= 2)"
    )
    parser.add_argument(
        "--correction",
        choices=("bh", "holm", "none"),
        default="bh",
        help="of p values over all rows: Benjamini-Hochberg, Holm, none (%(default)s)",
    )
    known = dict.fromkeys(metric.name for metric in registered() if metric.kind != "hierarchy")
    parser.add_argument(
        "--metrics", nargs="+", choices=tuple(known), metavar="METRIC", help=f"only these: {', '.join(known)}"
    )
    parser.add_argument(
        "--auc-test",
        choices=("bootstrap", "delong"),
        default="bootstrap",
        help="test of the AUC of heads of two classes (%(default)s)",
    )
    parser.add_argument(
        "--published-order", action="store_true", help="draw and round as the paper's evaluation did"
    )
    parser.add_argument("--out", type=Path, help="CSV file to write")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    return parser


def _pairs(options: Namespace) -> list[tuple[str, str]]:
    pairs = [(first, second) for first, second in options.pair]
    if options.models:
        if len(options.models) != 2:
            raise ValueError(
                f"expected two models A B, got {len(options.models)}: {', '.join(options.models[:5])}; "
                "put a pattern in quotes, so that the shell leaves it alone"
            )
        pairs.insert(0, (options.models[0], options.models[1]))
    if not pairs:
        raise ValueError("expected two prediction files A B, or --pair A B; see oahier compare --help")
    return pairs


def _models(name: str) -> list[Predictions]:
    """The tables of one model, one a seed."""
    path = Path(name)
    if path.is_file():
        return [read_predictions(path)]
    if path.is_dir():
        file = path / "predictions.csv"
        if not file.is_file():
            raise ValueError(f"{name}: expected a folder with a predictions.csv, found none")
        return [read_predictions(file)]
    anchor = Path(path.anchor)
    pattern = str(path.relative_to(anchor)) if path.anchor else name
    found = sorted(match for match in anchor.glob(pattern) if match.is_file())
    if not found:
        raise ValueError(f"{name}: no such file or folder, and no file matches it as a pattern")
    return [read_predictions(match) for match in found]


def _print(
    rows: Sequence[Comparison], resamples: int, without_subject: Sequence[str], *, delong: bool
) -> None:
    console = Console()
    for pair in dict.fromkeys((row.model_a, row.model_b) for row in rows):
        mine = [row for row in rows if (row.model_a, row.model_b) == pair]
        wide = console.width >= _WIDE
        console.print(_table(pair, mine, wide))
        console.print(_footnote(mine, resamples), highlight=False)
        if not wide:
            console.print(_tests(mine), highlight=False)
        if delong and all(row.test != "delong" for row in mine):
            console.print(_NO_DELONG, highlight=False)
    if without_subject:
        console.print(
            f"No column subject in {escape(', '.join(without_subject))}: each knee counts as a subject.",
            highlight=False,
        )


def _table(pair: tuple[str, str], rows: Sequence[Comparison], wide: bool) -> Table:
    """One row a metric; test and effect size only where there is room (the file has them anyway)."""
    table = Table(
        title=f"a = {escape(pair[0])}\nb = {escape(pair[1])}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("task")
    table.add_column("metric", min_width=11)
    for name in ("a", "b", "b - a", "95 % interval", "p", "adjusted"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("effect size", justify="right")
        table.add_column("test")
    previous = rows[0].task
    for row in rows:
        if row.task != previous:
            table.add_section()
        interval = "undefined" if row.ci_low != row.ci_low else f"{row.ci_low:.3f} to {row.ci_high:.3f}"
        numbers = (_rounded(value) for value in (row.a, row.b, row.difference))
        more = (_rounded(row.effect_size), row.test.replace("_", " ")) if wide else ()
        metric = row.metric.replace("_", " ")
        table.add_row(row.task, metric, *numbers, interval, _p(row.p_value), _p(row.p_adjusted), *more)
        previous = row.task
    return table


def _footnote(rows: Sequence[Comparison], resamples: int) -> str:
    row = rows[0]
    runs = "one model" if row.seeds == 1 else f"{row.seeds} models"
    undefined = [f"{one.task} {one.metric} {one.undefined}" for one in rows if one.undefined]
    lost = f"; resamples without a value: {', '.join(undefined)}" if undefined else ""
    return (
        f"{max(one.n for one in rows)} knees of {max(one.subjects for one in rows)} subjects, {runs} a side; "
        f"{resamples} resamples of {row.resampled}; correction {row.correction}{lost}"
    )


def _tests(rows: Sequence[Comparison]) -> str:
    """Which row has which test; the most frequent one is told last, without its rows."""
    tested: dict[str, list[str]] = {}
    for row in rows:
        tested.setdefault(row.test, []).append(f"{row.task} {row.metric}")
    *few, (usual, _) = sorted(tested.items(), key=lambda item: len(item[1]))
    named = [f"{test.replace('_', ' ')} ({', '.join(names)})" for test, names in few]
    return f"tests: {', '.join([*named, usual.replace('_', ' ')])}{' (all else)' if few else ''}"


def _rounded(value: float) -> str:
    return "undefined" if value != value else f"{value:.3f}"


def _p(value: float) -> str:
    if value != value:
        return "undefined"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
