"""The response surface of ``noise_question.py``: differences of supervisions, tables and figure.

All seeds that have every training count. There is a difference of two supervisions for each combination of
reader, training knees and width, and for means over these; "noisier" is how much the difference grows from
readers who are always right to those who agree in 40 %. Intervals are Obuchowski and Rockette's over test
knees and seeds, paired by seed; p values are corrected (Benjamini-Hochberg) over all differences of a metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from methods_bench import Run
from methods_tables import COLUMNS, inside

from oahier.files import write_atomically
from oahier.metrics import Rows, weighted_qwk
from oahier.statistics import adjust_comparisons
from oahier.statistics.contrasts import Contrast, contrast_row
from oahier.statistics.intervals import Statistic
from oahier.statistics.jackknife import LeftOut, leave_out
from oahier.statistics.study_size import left_out_variances

METRICS = {
    "severity": "Spearman with true severity", "in {2,3,4}": "the same inside {2, 3, 4}",
    "qwk": "QWK with true grade",
}  # fmt: skip
PAIRS = (("single-kl", "dual"), ("single-oa", "dual"))
TITLES = {"single-kl": "Single-KL", "single-oa": "Single-OA", "dual": "Dual"}
READERS = {"block-100": "100 %", "block-70": "70 %", "block-40": "40 %"}
ALL = "all"
MORE_SEEDS = (5, 10, 20, 40)
FEWEST_SEEDS = 3
"""The spread of two seeds is a single number, and intervals made of it are too short as often as too long."""
Key = tuple[str, str, int, int]
"""Supervision, reader, training knees, width."""


def statistics(said: Mapping[str, np.ndarray], truth: pd.DataFrame) -> list[Statistic]:
    """The metrics of one training, as functions of row weights."""
    grade, severity = truth["true_kl"].to_numpy(np.int64), truth["severity"].to_numpy(np.float64)
    scores, predicted = said["severity"].astype(np.float64), Rows.of(said["kl"], grade).predicted
    masks = {"severity": [grade >= 0], "in {2,3,4}": [grade >= 2]}
    found: dict[str, Statistic] = {
        name: partial(inside, severity=scores, truth=severity, groups=groups)
        for name, groups in masks.items()
    }
    found["qwk"] = partial(weighted_qwk, predicted=predicted, labels=grade)
    return [found[name] for name in METRICS]


def complete_seeds(points: Sequence[Run]) -> list[int]:
    """Seeds of which every training is there."""
    seeds = dict.fromkeys(point.seed for point in points)
    return [seed for seed in seeds if all(one.path.is_file() for one in points if one.seed == seed)]


class Surface:
    """Values of every combination and complete seed, with and without each test subject."""

    def __init__(self, folder: Path, points: Sequence[Run]) -> None:
        self.seeds = complete_seeds(points)
        if len(self.seeds) < FEWEST_SEEDS:
            raise ValueError(
                f"{folder}: expected three seeds or more with every training, got {self.seeds}; train on"
            )
        truth = pd.read_csv(folder / "manifest.csv").set_index("knee")
        chosen = [point for point in points if point.seed in self.seeds]
        each: list[Statistic] = []
        for point in chosen:
            said = dict(np.load(point.path, allow_pickle=False))
            known = truth.loc[said["knee"]]
            each += statistics(said, known)
        left = leave_out(each, known["subject"].to_numpy(str))
        self.subjects = left.subjects
        at: dict[Key, list[int]] = {}
        for index, point in enumerate(chosen):
            at.setdefault(_key(point), []).append(index * len(METRICS))
        self.values = {key: left.values[rows] for key, rows in _by_metric(at).items()}
        self.without = {key: left.without[rows] for key, rows in _by_metric(at).items()}

    def mean(self, metric: str, keys: Sequence[Key]) -> LeftOut:
        """Mean over combinations, seed by seed."""
        parts = (
            np.mean([table[key, metric] for key in keys], axis=0) for table in (self.values, self.without)
        )
        return LeftOut(*parts, self.subjects)


def _key(point: Run) -> Key:
    return point.method, point.reading, int(getattr(point, "knees")), int(getattr(point, "width"))  # noqa: B009


def _by_metric(at: Mapping[Key, Sequence[int]]) -> dict[tuple[Key, str], np.ndarray]:
    return {
        (key, metric): np.asarray(rows) + number
        for key, rows in at.items()
        for number, metric in enumerate(METRICS)
    }


def arms(surface: Surface, metric: str, pair: tuple[str, str], where: Sequence[Key]) -> tuple[LeftOut, ...]:
    """Both supervisions, means over combinations of reader, knees and width."""
    return tuple(surface.mean(metric, [(one, *key[1:]) for key in where]) for one in pair)


def growth(surface: Surface, metric: str, pair: tuple[str, str], where: Sequence[Key]) -> tuple[LeftOut, ...]:
    """Two arms whose difference is how much the difference of the supervisions grows with noise."""
    sure, noisy = ([key for key in where if key[1] == one] for one in ("block-100", "block-40"))
    first, second = (arms(surface, metric, pair, keys) for keys in (sure, noisy))
    return _sum(first[1], second[0]), _sum(first[0], second[1])


def _sum(a: LeftOut, b: LeftOut) -> LeftOut:
    return LeftOut(a.values + b.values, a.without + b.without, a.subjects)


def differences(surface: Surface) -> pd.DataFrame:
    """Every difference of the surface and of its margins, with what more seeds would see."""
    keys = [key for key, metric in surface.values if metric == "qwk" and key[0] == "dual"]
    knees, widths = ([*dict.fromkeys(key[at] for key in keys), ALL] for at in (2, 3))
    tables = []
    for metric in METRICS:
        found, about = [], []
        for pair, reader, count, width in product(PAIRS, [*READERS, ALL, "noisier"], knees, widths):
            where = [
                key
                for key in keys
                if (reader in (key[1], ALL, "noisier")) and count in (key[2], ALL) and width in (key[3], ALL)
            ]
            made = growth if reader == "noisier" else arms
            a, b = made(surface, metric, pair, where)
            slots: list[Statistic] = [np.mean] * len(a.values)
            left = LeftOut(
                np.concatenate([a.values, b.values]), np.concatenate([a.without, b.without]), a.subjects
            )
            found.append(contrast_row(Contrast(metric, slots, slots), left, a.subjects, "", paired=True))
            levels = {"metric": metric, "single": pair[0], "reader": reader, "knees": count, "width": width}
            about.append((levels, detectable(left)))
        for (levels, seen), row in zip(about, adjust_comparisons(found), strict=True):
            tables.append(levels | {name: getattr(row, name) for name in COLUMNS} | seen)
    return pd.DataFrame(tables)


def detectable(left: LeftOut) -> dict[str, float]:
    """Smallest difference that more seeds would find with 80 % power, as ``oahier study size`` says it."""
    try:
        plan = left_out_variances(left, len(left.values) // 2, left.subjects, paired=True)
    except ValueError:  # no subject changes one of the values, which says nothing of variances
        return {f"{seeds} seeds": np.nan for seeds in MORE_SEEDS}
    return {f"{seeds} seeds": plan.detectable(left.subjects, seeds) for seeds in MORE_SEEDS}


def signed(value: float) -> str:
    """Three digits and a sign, as in print."""
    return f"{value:+.3f}".replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")


def cell(row: pd.Series) -> str:
    """Difference with interval; bold where the corrected p value is below .05."""
    difference = signed(row["difference"])
    shown = f"**{difference}**" if row["p_adjusted"] < 0.05 else difference
    return f"{shown} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"


def pick(found: pd.DataFrame, **levels: object) -> pd.DataFrame:
    """Rows of these levels."""
    chosen = found
    for name, level in levels.items():
        chosen = chosen[chosen[name] == level]
    return chosen


def means(surface: Surface) -> list[str]:
    """Means over seeds, knees and widths of every supervision: a description, without intervals."""
    lines = [f"| true ... | readers | {' | '.join(TITLES.values())} |", "|---|---|---|---|---|"]
    for metric, reader in product(METRICS, READERS):
        wholes = [
            surface.mean(metric, [key for key, one in surface.values
                                  if one == metric and key[:2] == (supervision, reader)])
            for supervision in TITLES
        ]  # fmt: skip
        values = [f"{whole.values.mean():.3f}"[1:] for whole in wholes]
        lines.append(f"| {METRICS[metric]} | {READERS[reader]} | {' | '.join(values)} |")
    return lines


def markdown(found: pd.DataFrame, seeds: int, trained: int) -> str:
    """The tables of the page: the surface of each pair and metric, and what it excludes."""
    knees, widths = (list(dict.fromkeys(found[name])) for name in ("knees", "width"))
    readers = [*READERS, ALL, "noisier"]
    heads = ["100 %", "70 %", "40 %", "mean of readers", "grows from 100 to 40 %"]
    lines = [f"{trained} trainings, {seeds} seeds; each cell: Dual minus Single [95 % interval]."]
    for (single, metric), rows in found.groupby(["single", "metric"], sort=False):
        lines += ["", f"**Dual minus {TITLES[single]}, {METRICS[metric]}**", ""]
        lines += [f"| knees | width | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
        for count, width in (one for one in product(knees, widths) if one.count(ALL) != 1):
            cells = [cell(pick(rows, reader=one, knees=count, width=width).iloc[0]) for one in readers]
            lines.append(f"| {count} | {width} | {' | '.join(cells)} |")
    lines += ["", *excluded(found), "", *planned(found)]
    return "\n".join(lines) + "\n"


def excluded(found: pd.DataFrame) -> list[str]:
    """What the intervals of the margins rule out."""
    lines = [
        "| Dual minus | true ... | readers | interval | excluded |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for _, row in pick(found, knees=ALL, width=ALL).iterrows():
        low, high = row["ci_low"], row["ci_high"]
        said = f"a lead of Dual above {signed(high)[1:]}" if high > 0 else "any lead of Dual"
        behind = f"a lag of more than {signed(-low)[1:]}" if low < 0 else "any lag"
        reader = {ALL: "mean of readers", "noisier": "growth, 100 to 40 %"}.get(row["reader"])
        told = (TITLES[row["single"]], METRICS[row["metric"]], reader or READERS[row["reader"]])
        lines.append(f"| {' | '.join(told)} | {cell(row)} | {said}; {behind} |")
    return lines


def planned(found: pd.DataFrame) -> list[str]:
    """Smallest difference that is found with 80 % power: medians, by what is compared and how many seeds."""
    names = [f"{seeds} seeds" for seeds in MORE_SEEDS]
    lines = [f"| difference | metric | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    kinds = {
        "one combination": (found["knees"] != ALL) & (found["width"] != ALL) & found["reader"].isin(READERS),
        "one reader, mean over knees and widths": (found["knees"] == ALL) & (found["width"] == ALL)
        & found["reader"].isin(READERS),
        "mean over everything": (found["knees"] == ALL) & (found["width"] == ALL) & (found["reader"] == ALL),
        "growth with noise, mean over knees and widths": (found["knees"] == ALL) & (found["width"] == ALL)
        & (found["reader"] == "noisier"),
    }  # fmt: skip
    for (kind, chosen), metric in product(kinds.items(), METRICS):
        middle = pick(found[chosen], metric=metric)[names].median()
        lines.append(f"| {kind} | {METRICS[metric]} | {' | '.join(f'{v:.3f}'[1:] for v in middle)} |")
    return lines


def figure(found: pd.DataFrame, path: Path) -> None:
    """Differences against the reader: a row for each pair, a column for each metric, a line for each size."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11, 6.4), layout="constrained")
    panels = drawn.subplots(len(PAIRS), len(METRICS), sharex=True, sharey="col")
    combinations = list(product(*(dict.fromkeys(found[name]) for name in ("knees", "width"))))
    shown = [one for one in combinations if ALL not in one] + [(ALL, ALL)]
    colours = ("#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#000000")
    for (row, (single, _)), (column, metric) in product(enumerate(PAIRS), enumerate(METRICS)):
        panel = panels[row][column]
        for at, (knees, width) in enumerate(shown):
            rows = pick(found, metric=metric, single=single, knees=knees, width=width).set_index("reader")
            rows = rows.loc[list(READERS)]
            reach = [rows["difference"] - rows["ci_low"], rows["ci_high"] - rows["difference"]]
            label = "mean of all" if knees == ALL else f"{knees} knees, width {width}"
            x = np.arange(len(READERS)) + 0.13 * (at - (len(shown) - 1) / 2)
            panel.errorbar(
                x, rows["difference"], yerr=reach, fmt="D" if knees == ALL else "o", ms=4,
                color=colours[at % len(colours)], lw=1, label=label,
            )  # fmt: skip
        panel.axhline(0, color="0.5", lw=0.8)
        panel.set_xticks(range(len(READERS)), READERS.values())
        if row == 0:
            panel.set_title(METRICS[metric], fontsize=10)
        else:
            panel.set_xlabel("readers' exact agreement")
        if column == 0:
            panel.set_ylabel(f"Dual minus {TITLES[single]}")
    drawn.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False
    )
    drawn.savefig(path)


def write(folder: Path, points: Sequence[Run]) -> pd.DataFrame:
    """Write ``surface.csv``, ``surface.md`` and ``surface.svg``; returns the differences."""
    surface = Surface(folder, points)
    found = differences(surface)
    write_atomically(folder / "surface.csv", found.to_csv(index=False, float_format="%.6g"))
    trained = len([point for point in points if point.seed in surface.seeds])
    told = markdown(found, len(surface.seeds), trained)
    write_atomically(folder / "surface.md", "\n".join([told, *means(surface), ""]))
    figure(found, folder / "surface.svg")
    return found
