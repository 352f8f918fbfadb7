"""``oahier study size``: knees and seeds that a wanted difference needs."""

from __future__ import annotations

import math
from argparse import Namespace

from rich.console import Console
from rich.table import Table

from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.cli.parser import PlainParser
from oahier.metrics import registered
from oahier.statistics.study_size import Variances, pilot_variances, stated_variances

_DESCRIPTION = """Say how many knees and seeds a difference of two arms needs.

From pilot predictions, each of A and B a file or a quoted pattern whose matches are the seeds of one arm:

  oahier study size 'runs/single_*/predictions.csv' 'runs/dual_*/predictions.csv' --difference 0.05

or from stated values:

  oahier study size --error-sd 0.05 --at 98 --seed-sd 0.02 --difference 0.05

One seed is conditional on the trained models: the answer holds for these, not for the recipe.
"""


def run_size_command(options: Namespace) -> int:
    """Print the table of seeds and knees.

    Returns:
        0.

    Raises:
        ValueError: options or files that cannot be used.
    """
    for name in ("difference", "power", "level"):
        value = getattr(options, name)
        if not 0 < value < 1:
            raise ValueError(f"--{name}: expected a number above 0 and below 1, got {value:g}")
    seeds = [checked("--seeds", count, 1) for count in options.seeds]
    design, knees, told = _design(options)
    Console().print(_table(design, knees, seeds, options))
    print(told)
    if any(count > 1 for count in seeds) and math.isnan(design.seed):
        print("One seed an arm does not tell how training runs differ: give several, or state --seed-sd.")
    if any(
        design.knees(options.difference, count, options.power, options.level) == math.inf for count in seeds
    ):
        print(
            "no number: the spread over seeds alone hides such a difference, with any number of knees; more "
            "seeds an arm, or a larger difference"
        )
    plan = "study.yaml of `oahier init` has a list of seeds"
    say_next((["study", "run", "study.yaml", "--out", "runs/study"], plan))
    return 0


def size_parser() -> PlainParser:
    """The options of the command."""
    parser = PlainParser("oahier study size", _DESCRIPTION)
    parser.add_argument("models", nargs="*", metavar="A B", help="pilot predictions of the two arms")
    parser.add_argument("--metric", default="qwk", help="name of the metric (%(default)s)")
    parser.add_argument("--head", help="head of the metric (the first that has it)")
    parser.add_argument("--difference", type=float, required=True, help="wanted difference of the arms")
    parser.add_argument("--power", type=float, default=0.8, help="power of the test (%(default)s)")
    parser.add_argument("--level", type=float, default=0.05, help="level of the two-sided test (%(default)s)")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[1, 3, 5, 10],
        help="seeds of each arm (1 3 5 10)",
        metavar="N",
    )
    parser.add_argument(
        "--paired-seeds", action="store_true", help="seed j of both arms share initialisation and order"
    )
    parser.add_argument(
        "--seed-sd", type=float, default=math.nan, help="s.d. of the metric over training runs"
    )
    parser.add_argument("--error-sd", type=float, help="standard error of one model's metric on --at knees")
    parser.add_argument("--at", type=int, help="knees that --error-sd is of")
    parser.add_argument(
        "--arm-correlation", type=float, default=0.5, help="correlation of errors of two arms (%(default)s)"
    )
    parser.add_argument(
        "--seed-correlation",
        type=float,
        default=0.8,
        help="correlation of errors of two seeds of one arm (%(default)s)",
    )
    return parser


def _design(options: Namespace) -> tuple[Variances, int, str]:
    """Variance components, knees that they were seen on, and where they are from."""
    if options.models:
        if len(options.models) != 2 or options.error_sd is not None:
            raise ValueError(
                f"expected two pilot models A B, or none with --error-sd and --at, got {len(options.models)}"
            )
        return _of_pilot(options)
    if options.error_sd is None or options.at is None:
        raise ValueError("expected pilot predictions A B, or --error-sd and --at (oahier study size --help)")
    found = stated_variances(
        options.error_sd, options.at, seed_sd=options.seed_sd, arm_correlation=options.arm_correlation,
        seed_correlation=options.seed_correlation,
    )  # fmt: skip
    return found, options.at, "from stated values"


def _of_pilot(options: Namespace) -> tuple[Variances, int, str]:
    from oahier.cli.compare import models_of
    from oahier.statistics.paired_predictions import align

    arms = [models_of(name) for name in options.models]
    cohort = align([*arms[0], *arms[1]])
    for head in [options.head] if options.head else cohort.tasks(oa_from_kl=False):
        a, b = (cohort.rows_of_all(arm, head) for arm in arms)
        if a is None or b is None:
            continue
        chosen = [metric for metric in registered() if metric.name == options.metric and metric.applies(a[0])]
        if not chosen:
            continue
        found = pilot_variances(a, b, chosen[0], paired=options.paired_seeds)
        seeds = "one seed" if len(a) == len(b) == 1 else f"{len(a)} and {len(b)} seeds"
        spread = "" if math.isnan(found.seed) else f"; s.d. over seeds {math.sqrt(found.seed):.3f}"
        return found, len(a[0]), f"{head} {options.metric} from a pilot of {len(a[0])} knees, {seeds}{spread}"
    known = ", ".join(dict.fromkeys(metric.name for metric in registered() if metric.kind != "hierarchy"))
    raise ValueError(f"--metric {options.metric}: no labelled head of both arms has it (metrics: {known})")


def _table(design: Variances, knees: int, seeds: list[int], options: Namespace) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = f"difference {options.difference:g}, power {options.power:g}, level {options.level:g}"
    table.add_column("seeds an arm", justify="right")
    table.add_column("knees needed", justify="right")
    table.add_column(f"seen with {knees} knees", justify="right")
    table.add_column("the answer is for")
    for count in seeds:
        needed = design.knees(options.difference, count, options.power, options.level)
        seen = design.detectable(knees, count, options.power, options.level)
        text = "unknown" if needed != needed else "no number" if needed == math.inf else f"{needed:,}"
        table.add_row(
            str(count), text, "unknown" if seen != seen else f"{seen:.3f}",
            "these trained models" if count == 1 else "the recipe",
        )  # fmt: skip
    return table
