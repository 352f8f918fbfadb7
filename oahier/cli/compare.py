"""``oahier compare``: two models, or a family of pairs, from their prediction files."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from oahier.cli.compare_tables import print_comparisons
from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.cli.parser import PlainParser
from oahier.metrics import registered
from oahier.metrics.registry import chosen_metrics
from oahier.progress import bar
from oahier.statistics import Bootstrap, Comparison, compare_predictions, parse_margins, read_predictions
from oahier.statistics.bootstrap import RESAMPLES, SEED
from oahier.statistics.comparison import value_count
from oahier.statistics.correction import adjust_comparisons
from oahier.statistics.predictions import Predictions
from oahier.statistics.tables import write_table

_MANY = 20_000
"""More knees than this show a progress bar."""
_LARGE = 4_000_000
"""Bytes of a file whose reading shows one."""
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
    pairs, margins = _pairs(options), parse_margins(options.margin)
    resamples = checked("--resamples", options.resamples, 1)
    settings = Bootstrap(resamples, checked("--seed", options.seed, 0), published=options.published_order)
    backbones = list(dict.fromkeys(name_b for _, name_b in pairs))
    rows: list[Comparison] = []
    without_subject: list[str] = []
    for name_a, name_b in pairs:
        a, b = models_of(name_a), models_of(name_b)
        without_subject += [model.source for model in (*a, *b) if not model.subject_given]
        bootstrap = replace(settings, before=backbones.index(name_b))
        chosen = len(chosen_metrics(options.metrics))
        with bar("comparing", value_count(a, b, chosen), show=len(a[0]) > _MANY) as advance:
            rows += [
                replace(row, model_a=name_a, model_b=name_b)
                for row in compare_predictions(
                    a,
                    b,
                    metrics=options.metrics,
                    oa_from_kl=options.oa_from_kl,
                    paired_seeds=options.paired_seeds,
                    margins=margins,
                    auc_test=options.auc_test,
                    bootstrap=bootstrap if options.method == "bootstrap" or options.published_order else None,
                    advance=advance,
                )
            ]
    rows = adjust_comparisons(rows, options.correction)
    print_comparisons(rows, list(dict.fromkeys(without_subject)), delong=options.auc_test == "delong")
    if options.out is not None:
        print(f"table: {write_table(options.out, rows)}")
    first = [str(name) for name in _pairs(options)[0]]
    say_next((["study", "size", *first, "--difference", 0.05], "knees and seeds that 0.05 would need"))
    return 0


def compare_parser() -> PlainParser:
    """The options of the command."""
    parser = PlainParser("oahier compare", _DESCRIPTION)
    parser.add_argument("models", nargs="*", metavar="A B", help="the two models")
    parser.add_argument(
        "--pair",
        nargs=2,
        action="append",
        default=[],
        metavar=("A", "B"),
        help="one pair of a family; repeat it",
    )
    parser.add_argument(
        "--paired-seeds",
        action="store_true",
        help="file j of A and of B, sorted by name, had the same seed; else each side has seeds of its own",
    )
    parser.add_argument(
        "--margin",
        nargs="+",
        default=[],
        metavar="[METRIC=]M",
        help="largest difference that does not matter, for verdicts of equivalence and non-inferiority",
    )
    parser.add_argument(
        "--method",
        choices=("jackknife", "bootstrap"),
        default="jackknife",
        help="method of intervals and p values: Obuchowski-Rockette with jackknife covariances, or the "
        "percentile bootstrap over subjects, for the trained models as they are (%(default)s)",
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="bootstrap resamples (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the bootstrap (%(default)s)")
    parser.add_argument(
        "--oa-from-kl", action="store_true", help="score a model without an OA head on OA by P(KL >= 2)"
    )
    parser.add_argument(
        "--correction",
        choices=("bh", "holm", "none"),
        default="bh",
        help="correction of p values over all rows: Benjamini-Hochberg, Holm, none (%(default)s)",
    )
    known = dict.fromkeys(metric.name for metric in registered() if metric.kind != "hierarchy")
    parser.add_argument(
        "--metrics", nargs="+", choices=tuple(known), metavar="METRIC", help=f"only these: {', '.join(known)}"
    )
    parser.add_argument(
        "--auc-test",
        choices=("jackknife", "delong"),
        default="jackknife",
        help="covariances of the AUC of heads of two classes (%(default)s)",
    )
    parser.add_argument(
        "--published-order",
        action="store_true",
        help="bootstrap as the paper's evaluation did, pairs with one B being a backbone",
    )
    parser.add_argument("--out", type=Path, help="CSV file to write")
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


def models_of(name: str) -> list[Predictions]:
    """The tables of one model, one a seed."""
    path = Path(name)
    if path.is_file():
        return [_read(path)]
    if path.is_dir():
        file = path / "predictions.csv"
        if not file.is_file():
            raise ValueError(f"{name}: expected a folder with a predictions.csv, found none")
        return [_read(file)]
    anchor = Path(path.anchor)
    pattern = str(path.relative_to(anchor)) if path.anchor else name
    found = sorted(match for match in anchor.glob(pattern) if match.is_file())
    if not found:
        raise ValueError(f"{name}: no such file or folder, and no file matches it as a pattern")
    return [_read(match) for match in found]


def _read(path: Path) -> Predictions:
    with bar(f"reading {path.name}", None, show=path.stat().st_size > _LARGE) as advance:
        return read_predictions(path, advance=advance)
