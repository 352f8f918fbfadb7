"""Tables and figure of the runs of ``methods_bench.py``: values, differences with intervals, and sizes.

Truth is what the reader does not see. Intervals are Obuchowski and Rockette's over test knees and seeds,
paired by seed; a seed has training knees, reading, start and order of its own, so they hold for new ones of
these, too. P values are corrected (Benjamini-Hochberg) over all differences of one metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from oahier.files import write_atomically
from oahier.metrics import (
    Decoding,
    LevelRows,
    QuadraticCost,
    Rows,
    WeightedMedian,
    weighted_mean,
    weighted_qwk,
    weighted_spearman,
)
from oahier.metrics.coherence import probability_gap
from oahier.metrics.probability import calibration_error, ranked_probability_score
from oahier.metrics.weighted import Floats, Ranked, Weights
from oahier.statistics import adjust_comparisons
from oahier.statistics.contrasts import Contrast, contrast_row
from oahier.statistics.intervals import Statistic
from oahier.statistics.jackknife import LeftOut, leave_out
from oahier.statistics.study_size import left_out_variances
from oahier.statistics.values import Values, value_row

SMALLER = {"mae": True, "rps": True, "ece": True, "gap": True}
METRICS = ("severity", "in {0,1}", "in {2,3,4}", "in a grade", "qwk", "accuracy", *SMALLER)
DECODINGS: dict[str, Decoding] = {
    "median": WeightedMedian(),
    "rounded": QuadraticCost(),
    "stretched": QuadraticCost(0.6, [1.0] * 5),
}
DECODED = "cumulative"
"""The method, beside the baseline, whose predictions are also decided by other rules."""
DECIDED = ("qwk", "mae", "accuracy")
COLUMNS = (
    "a", "b", "difference", "ci_low", "ci_high", "p_value", "p_adjusted", "verdict", "detectable", "seeds",
)  # fmt: skip
Table = Mapping[tuple[str, str], LeftOut]
"""Method and reading to the values of every metric and seed, seeds running fastest."""


def inside(weights: Weights, severity: Floats, truth: Floats, groups: Sequence[np.ndarray]) -> Floats:
    """Mean over groups of knees of Spearman's correlation of severity and true severity."""
    each = [weighted_spearman(weights[:, one], Ranked(severity[one]), Ranked(truth[one])) for one in groups]
    return np.asarray(np.mean(each, axis=0))


def statistics(said: Mapping[str, np.ndarray], truth: pd.DataFrame) -> dict[str, Statistic]:
    """The metrics of one run, as functions of row weights."""
    grade, severity = truth["true_kl"].to_numpy(np.int64), truth["severity"].to_numpy(np.float64)
    rows = Rows.of(said["kl"], grade)
    groups = {
        "severity": [grade >= 0],
        "in {0,1}": [grade < 2],
        "in {2,3,4}": [grade >= 2],
        "in a grade": [grade == one for one in range(5)],
    }
    scores = said["severity"].astype(np.float64)
    found: dict[str, Statistic] = {
        name: partial(inside, severity=scores, truth=severity, groups=masks) for name, masks in groups.items()
    }
    levels = LevelRows(said["oa"].astype(np.float64), rows.probabilities)
    return found | {
        **decided(rows.predicted, grade),
        "rps": partial(ranked_probability_score, rows=rows),
        "ece": partial(calibration_error, rows=rows),
        "gap": partial(probability_gap, rows=levels),
    }


def decided(predicted: np.ndarray, grade: np.ndarray) -> dict[str, Statistic]:
    """The metrics of decisions."""
    return {
        "qwk": partial(weighted_qwk, predicted=predicted, labels=grade),
        "mae": partial(weighted_mean, values=np.abs(predicted - grade)),
        "accuracy": partial(weighted_mean, values=predicted == grade),
    }


def measured(folder: Path, names: Sequence[str], readings: Sequence[str], seeds: int, baseline: str) -> Table:
    """Every method and reading whose seeds are all there, two of them by other rules of decision too."""
    truth = pd.read_csv(folder / "manifest.csv").set_index("knee")
    found: dict[tuple[str, str], LeftOut] = {}
    for reading in readings:
        for name in names:
            paths = [folder / "runs" / f"{name}_{reading}_{seed}.npz" for seed in range(seeds)]
            if not all(path.is_file() for path in paths):
                continue
            runs = [dict(np.load(path, allow_pickle=False)) for path in paths]
            known = truth.loc[runs[0]["knee"]]
            subjects = known["subject"].to_numpy(str)
            each = [statistics(one, known) for one in runs]
            found[name, reading] = leave_out([one[m] for m in METRICS for one in each], subjects)
            for rule, decoding in DECODINGS.items() if name in (baseline, DECODED) else ():
                grade = known["true_kl"].to_numpy(np.int64)
                each = [
                    statistics(one, known) | decided(decoding.decide(one["kl"].astype(float)), grade)
                    for one in runs
                ]
                left = leave_out([one[m] for m in METRICS for one in each], subjects)
                found[rule if name == baseline else f"{name}, {rule}", reading] = left
    return found


def of_metric(left: LeftOut, metric: str) -> LeftOut:
    """The seeds of one metric."""
    seeds = len(left.values) // len(METRICS)
    at = METRICS.index(metric) * seeds
    return left.rows(at, at + seeds)


def both(a: LeftOut, b: LeftOut) -> LeftOut:
    """Two arms, one after the other."""
    joined = (np.concatenate(pair) for pair in ((a.values, b.values), (a.without, b.without)))
    return LeftOut(*joined, a.subjects)


def differences(table: Table, pairs: Sequence[tuple[str, str]], readings: Sequence[str]) -> pd.DataFrame:
    """Second minus first method of every pair, by metric and reading; one family a metric."""
    rows = []
    for metric in METRICS:
        found, about = [], []
        for reading in readings:
            for first, second in pairs:
                if (first, reading) not in table or (second, reading) not in table:
                    continue
                if second.rpartition(", ")[2] in DECODINGS and metric not in DECIDED:
                    continue
                a, b = (of_metric(table[name, reading], metric) for name in (first, second))
                slots: list[Statistic] = [np.mean] * len(a.values)
                contrast = Contrast(metric, slots, slots, smaller=metric in SMALLER)
                found.append(contrast_row(contrast, both(a, b), a.subjects, "", paired=True))
                about.append({"metric": metric, "reading": reading, "first": first, "method": second})
        for levels, row in zip(about, adjust_comparisons(found), strict=True):
            rows.append(levels | {name: getattr(row, name) for name in COLUMNS})
    return pd.DataFrame(rows)


def values(table: Table) -> pd.DataFrame:
    """Mean over seeds of every method, reading and metric, with its interval."""
    rows = []
    for (name, reading), left in table.items():
        for metric in METRICS:
            part = of_metric(left, metric)
            slots: list[Statistic] = [np.mean] * len(part.values)
            row = asdict(value_row(Values(metric, slots), part, part.subjects, ""))
            rows.append({"method": name, "reading": reading, **row})
    return pd.DataFrame(rows).drop(columns=["task", "undefined"])


def sizes(table: Table, found: pd.DataFrame, seeds: Sequence[int] = (5, 10, 20, 40)) -> pd.DataFrame:
    """Smallest difference found with 80 % power by more seeds, on these test knees: medians over methods."""
    rows = []
    for (metric, reading, first, method), _ in found.groupby(["metric", "reading", "first", "method"]):
        a, b = (of_metric(table[name, reading], metric) for name in (first, method))
        try:
            parts = left_out_variances(both(a, b), len(a.values), a.subjects, paired=True)
        except ValueError:  # no subject changes one of the values, which says nothing of variances
            each = {f"{count} seeds": np.nan for count in seeds}
        else:
            each = {f"{count} seeds": parts.detectable(a.subjects, count) for count in seeds}
        rows.append({"metric": metric, "reading": reading, **each})
    return pd.DataFrame(rows).groupby(["metric", "reading"], sort=False).median().reset_index()


def figure(found: pd.DataFrame, readings: Sequence[str], path: Path) -> None:
    """Differences from the baseline with intervals, a row for each method and a panel for each metric."""
    from matplotlib.figure import Figure

    shown = ("severity", "in {0,1}", "qwk", "rps")
    names = list(dict.fromkeys(found["method"]))
    drawn = Figure(figsize=(11, 1.2 + 0.2 * len(names)), layout="constrained")
    panels = drawn.subplots(1, len(shown), sharey=True)
    for panel, metric in zip(panels, shown, strict=True):
        for at, reading in enumerate(readings):
            rows = found[(found["metric"] == metric) & (found["reading"] == reading)]
            height = [names.index(name) + 0.2 * (at - 1.5) for name in rows["method"]]
            reach = [rows["difference"] - rows["ci_low"], rows["ci_high"] - rows["difference"]]
            colour = ("#0072B2", "#E69F00", "#D55E00", "#009E73")[at]
            panel.errorbar(
                rows["difference"], height, xerr=reach, fmt=".", color=colour, lw=0.8, ms=4, label=reading
            )
        panel.axvline(0, color="0.5", lw=0.8)
        panel.set_title(metric + (" (lower is better)" if metric in SMALLER else ""), fontsize=9)
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    panels[0].invert_yaxis()
    panels[0].legend(fontsize=7)
    drawn.savefig(path)


def write(
    folder: Path,
    names: Sequence[str],
    readings: Sequence[str],
    seeds: int,
    baseline: str,
    extra: Sequence[tuple[str, str]],
) -> pd.DataFrame:
    """Write tables (``values.csv``, ...) and a figure; returns the differences from the baseline."""
    table = measured(folder, names, readings, seeds, baseline)
    others = dict.fromkeys(name for name, _ in table if name != baseline)
    found = differences(table, [(baseline, name) for name in others], readings)
    for name, rows in {
        "values": values(table),
        "differences": found,
        "supervision": differences(table, extra, readings),
        "sizes": sizes(table, found),
    }.items():
        write_atomically(folder / f"{name}.csv", rows.to_csv(index=False, float_format="%.6g"))
    figure(found, readings, folder / "differences.svg")
    return found
