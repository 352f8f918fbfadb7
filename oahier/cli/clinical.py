"""``oahier clinical``: calibration, net benefit and subgroups of a prediction file, as page and tables."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.cli.parser import PlainParser
from oahier.clinical import (
    Calibrator,
    Decisions,
    FixedSpecificity,
    Isotonic,
    MostAccurate,
    Temperature,
    ThresholdRule,
    Youden,
)
from oahier.specs.errors import read_yaml

_DESCRIPTION = """Evaluate a prediction file clinically: a page, its tables and its figures.

  oahier clinical runs/mine/predictions.csv --manifest knees.csv --out clinical
  oahier clinical test.csv --validation validation.csv --calibrator isotonic --threshold youden

Calibration and thresholds are fitted on --validation (predictions of the same model on other subjects),
applied beside the probabilities as they are, and written as decisions.json, which oahier predict --decisions
applies to new scans.
"""


def run_clinical_command(words: list[str]) -> int:
    """Evaluate, print the table of events and write the report.

    Returns:
        0.

    Raises:
        ValueError: files or options that cannot be used.
        OSError: a file cannot be read or written.
    """
    options = clinical_parser().parse_args(words)
    from oahier.reporting import evaluate_clinically, write_clinical_report
    from oahier.statistics import read_predictions

    predictions = read_predictions(options.predictions)
    report = evaluate_clinically(
        predictions,
        manifest=_manifest(options.manifest, options.covariates),
        decisions=_decisions(options),
        covariates=options.covariates,
        specificity=options.specificity,
        resamples=checked("--resamples", options.resamples, 0),
        seed=checked("--seed", options.seed, 0),
        facts=_facts(options.config),
    )
    Console().print(_table(report))
    for line in [] if report.decisions is None else report.decisions.describe():
        print(f"recalibrated: {line}")
    print(f"page: {write_clinical_report(report, options.out)}")
    if report.decisions is None:
        words = ["clinical", options.predictions, "--validation", "VALIDATION.csv"]
        say_next((words, "the same recalibrated on validation knees"))
    return 0


def clinical_parser() -> PlainParser:
    """The options of the command."""
    parser = PlainParser("oahier clinical", _DESCRIPTION)
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="prediction file (CSV)")
    parser.add_argument("--out", type=Path, default=Path("clinical"), help="folder to write (%(default)s)")
    parser.add_argument(
        "--manifest", type=Path, help="manifest of the knees, for subgroups by its covariates"
    )
    parser.add_argument(
        "--covariates", nargs="+", metavar="COLUMN", help="only these columns of the manifest"
    )
    parser.add_argument(
        "--validation", type=Path, help="predictions of the same model on validation knees, to recalibrate"
    )
    parser.add_argument("--decisions", type=Path, help="a decisions.json to apply instead of fitting one")
    parser.add_argument(
        "--calibrator",
        choices=("temperature", "isotonic"),
        help="how --validation recalibrates probabilities (temperature)",
    )
    parser.add_argument(
        "--threshold", choices=("youden", "accuracy", "specificity"),
        help="how --validation chooses the threshold of two classes (youden)",
    )  # fmt: skip
    parser.add_argument(
        "--specificity",
        type=float,
        default=0.9,
        help="specificity at which sensitivity is given (%(default)s)",
    )
    parser.add_argument("--config", type=Path, help="config.yaml of the run, for the checklists")
    parser.add_argument(
        "--resamples", type=int, default=1000, help="bootstrap resamples of subjects (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (%(default)s)")
    return parser


def _decisions(options: Namespace) -> Decisions | None:
    if options.validation is not None and options.decisions is not None:
        raise ValueError("--validation, --decisions: expected one of them, got both")
    if options.validation is None:
        for name in ("calibrator", "threshold"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name}: fits on the knees of --validation FILE, which is not given")
        return None if options.decisions is None else Decisions.read(options.decisions)
    from oahier.reporting.clinical import fit_decisions
    from oahier.statistics import read_predictions

    calibrators: Mapping[str, Calibrator] = {"temperature": Temperature(), "isotonic": Isotonic()}
    rules: Mapping[str, ThresholdRule] = {
        "youden": Youden(), "accuracy": MostAccurate(), "specificity": FixedSpecificity(options.specificity),
    }  # fmt: skip
    validation = read_predictions(options.validation)
    calibrator, rule = options.calibrator or "temperature", options.threshold or "youden"
    return fit_decisions(validation, calibrators[calibrator], rules[rule])


def _manifest(path: Path | None, covariates: Sequence[str] | None) -> Any:
    if path is None:
        if covariates:
            raise ValueError("--covariates: are columns of --manifest FILE, which is not given")
        return None
    from oahier.data import read_manifest

    return read_manifest(path).table


def _facts(path: Path | None) -> Mapping[str, str]:
    if path is None:
        return {}
    from oahier.reporting.checklist import facts_of_config

    return facts_of_config(read_yaml(path, f"--config {path}"))


def _table(report: Any) -> Table:
    from oahier.reporting.clinical_page import told

    table = Table(title=f"{report.source}", title_justify="left", box=None, pad_edge=False)
    several = report.decisions is not None
    for column in ("event", *(["probabilities"] * several), "metric", "value [95 % interval]"):
        table.add_column(column, overflow="fold")
    for one in report.results:
        shown = {
            "AUC": one.auc, "calibration intercept": one.calibration.intercept,
            "calibration slope": one.calibration.slope,
            f"sensitivity at specificity {report.specificity:g}": one.point.sensitivity,
        }  # fmt: skip
        for number, (metric, value) in enumerate(shown.items()):
            names = [one.event.name, *([one.variant] if several else [])]
            cells = [*(names if number == 0 else [""] * len(names)), metric, told(value)]
            table.add_row(*map(Text, cells))  # an interval is no markup
        table.add_section()
    return table
