"""``oahier change``: slopes, response to time and later progression of a score, as page and tables."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from oahier.cli.next_steps import Step, say_next
from oahier.cli.parser import PlainParser
from oahier.hierarchy import FINE

_DESCRIPTION = """Evaluate how a score changes over the visits of knees: a page and its tables.

  oahier change runs/mine/predictions.csv --manifest knees.csv --out change
  oahier change runs/mine/severity_axis.csv --manifest knees.csv --score projection --within 24

Slopes by a mixed model, standardised response means beside those of the grade, the area under the ROC curve
of a later rise of the grade, and the association of the score with it within one grade. The manifest says
which scans are visits of one knee (subject and side) and when (a column of months).
"""


def run_change_command(words: list[str]) -> int:
    """Evaluate, print the numbers and write the report.

    Returns:
        0.

    Raises:
        ValueError: files or options that cannot be used.
        OSError: a file cannot be read or written.
    """
    options = change_parser().parse_args(words)
    for name in ("within", "span", "rise"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name}: expected a number above 0, got {value:g}")
    from oahier.data import read_manifest
    from oahier.pages.text import p_value
    from oahier.reporting.change import evaluate_change, read_scores, write_change_report
    from oahier.reporting.clinical_page import told

    report = evaluate_change(
        read_scores(options.scores, options.score),
        read_manifest(options.manifest),
        score=options.score,
        grade=options.grade,
        months=options.months,
        within=options.within,
        span=options.span,
        rise=options.rise,
        source=", ".join(map(str, options.scores)),
    )
    table = Table(title=report.source, title_justify="left", box=None, pad_edge=False)
    for name in ("number", "of"):
        table.add_column(name)
    for name in ("value", "p", "knees", "subjects"):
        table.add_column(name, justify="right")
    for one in report.findings:
        cells = [told(one.estimate), p_value(one.p_value), str(one.knees), str(one.subjects)]
        table.add_row(one.quantity, one.of, *cells)
    Console().print(table)
    print(f"page: {write_change_report(report, options.out)}")
    say_next(*_steps(options))
    return 0


def _steps(options: Namespace) -> Iterator[Step]:
    """The same along the severity axis, where a run has left it, and within half the time."""
    given = ["--manifest", options.manifest, "--grade", options.grade, "--months", options.months]
    axes = [path.with_name("severity_axis.csv") for path in options.scores]
    if options.score != "projection" and all(path.is_file() for path in axes):
        words = ["change", *axes, *given, "--score", "projection", "--out", f"{options.out}-axis"]
        yield words, "the same along the severity axis"
    words = ["change", *options.scores, *given, "--score", options.score]
    within = ["--within", f"{options.within / 2:g}", "--out", f"{options.out}-{options.within / 2:g}"]
    yield [*words, *within], "rises within half the time"


def change_parser() -> PlainParser:
    """The options of the command."""
    parser = PlainParser("oahier change", _DESCRIPTION)
    parser.add_argument(
        "scores", type=Path, nargs="+", metavar="FILE", help="CSV with a column knee and one of scores"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of these scans")
    parser.add_argument("--out", type=Path, default=Path("change"), help="folder to write (%(default)s)")
    parser.add_argument(
        "--score", default=f"severity_{FINE}", metavar="COLUMN", help="column of scores (%(default)s)"
    )
    parser.add_argument(
        "--grade", default=FINE, metavar="COLUMN", help="column of grades in the manifest (%(default)s)"
    )
    parser.add_argument(
        "--months", default="month", metavar="COLUMN", help="column of months in the manifest (%(default)s)"
    )
    parser.add_argument(
        "--within", type=float, default=48, help="months in which a rise is an event (%(default)s)"
    )
    parser.add_argument(
        "--span", type=float, help="months between the visits of the response mean; first to last by default"
    )
    parser.add_argument(
        "--rise", type=float, default=1, help="rise of the grade that counts as an event (%(default)s)"
    )
    return parser
