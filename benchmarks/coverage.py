"""Coverage of the 95 % intervals in simulated studies whose true values are known.

    python -m benchmarks.coverage --repeats 2000 --out runs/coverage.csv

A cell is a design: knees, knees a subject, seeds, spread over seeds, seeds paired across arms or not, metric.
Rounds of a hundred repeats of every cell are appended to the file; run it again to go on. At the end, tables
are printed as they stand in ``docs/concepts/coverage.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from oahier.metrics import Metric, Rows, registered
from oahier.progress import progress
from oahier.statistics.contrasts import Contrast, contrast_row
from oahier.statistics.jackknife import leave_out
from oahier.statistics.values import Values, value_row

Floats = npt.NDArray[np.float64]
SHARES = np.array([21, 12, 22, 28, 15]) / 98
"""Of the grades, as in the test split of the paper."""
CUTS = norm.ppf(np.cumsum(SHARES)[:-1])
NOISE = 0.7
"""Standard deviation of a model's error of severity, whose own is 1: QWK 0.76, OA AUC 0.90."""
PARTS = {"knee": 0.4, "arm": 0.2, "seed": 0.15, "run": 0.25}
"""Parts of its variance: common to all models, to an arm, to a seed in both arms, and of one run."""
ROUND = 100
GRID = np.linspace(-1.5, 1.5, 61)


@dataclass(frozen=True)
class Design:
    """A cell of the table."""

    metric: str
    knees: int
    per_subject: int
    seeds: int
    seed_sd: float
    paired: bool


def designs() -> list[Design]:
    """All cells."""
    names = ("accuracy", "auc", "qwk", "mae", "macro_f1", "spearman")
    levels = product(names, (50, 100, 400), (1, 2), (1, 3, 5, 10), (0.0, 0.02, 0.04, 0.06), (False, True))
    return [Design(*level) for level in levels if level[3] > 1 or not level[5]]


def metric_of(name: str) -> Metric:
    """The registered metric; accuracy is that of the grades."""
    kind = "binary" if name == "auc" else "ordinal"
    return next(metric for metric in registered(kind) if metric.name == name)


def rows_of(metric: Metric, severity: Floats, score: Floats, subject: npt.NDArray[np.str_]) -> Rows:
    """What a model says whose score is the severity with an error."""
    scale = np.sqrt(1 + NOISE**2)
    if metric.kind == "binary":
        p = norm.cdf(score - CUTS[1] * scale)
        label = (severity >= CUTS[1]).astype(np.int64)
        return Rows(label, np.stack([1 - p, p], axis=1), (p >= 0.5).astype(np.int64), p, subject)
    label, predicted = np.searchsorted(CUTS, severity), np.searchsorted(CUTS * scale, score)
    return Rows(label, np.eye(5)[predicted], predicted, score, subject)


@cache
def true_values(name: str) -> Floats:
    """The metric among 200,000 knees, for models whose log error is off by each value of ``GRID``."""
    generator, metric = np.random.default_rng(1), metric_of(name)
    severity, error = generator.normal(size=(2, 200_000))
    subject = np.arange(len(severity)).astype(str)
    scores = (severity + NOISE * np.exp(shift) * error for shift in GRID)
    return np.array([metric.value(rows_of(metric, severity, score, subject)) for score in scores])


@cache
def spread_of_skill(name: str, seed_sd: float) -> tuple[float, float]:
    """Standard deviation of the log error that makes the metric's ``seed_sd``, and the metric's mean."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()

    def moments(spread: float) -> tuple[float, float]:
        values = np.interp(spread * nodes, GRID, true_values(name))
        mean = float(weights @ values)
        return float(np.sqrt(weights @ (values - mean) ** 2)), mean

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if moments(middle)[0] < seed_sd else (low, middle)
    spread = 0.0 if seed_sd == 0 else high
    return spread, moments(spread)[1]


def study(design: Design, generator: np.random.Generator) -> tuple[list[Rows], Floats]:
    """Predictions of both arms, those of the first one first, and the true value of each model."""
    metric, subjects = metric_of(design.metric), design.knees // design.per_subject
    shape = (subjects, design.per_subject)

    def among_knees(of_subject: float) -> Floats:
        if design.per_subject == 1:
            return generator.normal(size=design.knees)
        own, shared = generator.normal(size=shape), generator.normal(size=(subjects, 1))
        return (np.sqrt(of_subject) * shared + np.sqrt(1 - of_subject) * own).ravel()

    subject = np.repeat(np.arange(subjects), design.per_subject).astype(str)
    severity, common = among_knees(0.6), np.sqrt(PARTS["knee"]) * among_knees(0.3)
    spread, _ = spread_of_skill(design.metric, design.seed_sd)
    shared_skill = generator.normal(size=design.seeds)
    of_seed = [among_knees(0.3) for _ in range(design.seeds)]
    rows, shifts = [], []
    for _ in "ab":
        of_arm = np.sqrt(PARTS["arm"]) * among_knees(0.3)
        for seed in range(design.seeds):
            same = design.paired
            skill = np.sqrt(0.5) * shared_skill[seed] + np.sqrt(0.5) * generator.normal()
            shift = spread * (skill if same else generator.normal())
            error = common + of_arm + np.sqrt(PARTS["run"]) * among_knees(0.3)
            error = error + np.sqrt(PARTS["seed"]) * (of_seed[seed] if same else among_knees(0.3))
            rows.append(rows_of(metric, severity, severity + NOISE * np.exp(shift) * error, subject))
            shifts.append(shift)
    return rows, np.interp(shifts, GRID, true_values(design.metric))


def one_round(design: Design, number: int) -> dict[str, object]:
    """Counts of a round of repeats of one cell."""
    generator = np.random.default_rng([number, *map(ord, repr(design))])
    metric, seeds = metric_of(design.metric), design.seeds
    of_recipe = spread_of_skill(design.metric, design.seed_sd)[1]
    found = []
    for _ in range(ROUND):
        rows, truth = study(design, generator)
        statistics = [partial(metric, rows=one) for one in rows]
        left = leave_out(statistics, rows[0].subject)
        a, b = statistics[:seeds], statistics[seeds:]
        contrast = Contrast(metric.name, a, b, share=metric.share)
        row = contrast_row(contrast, left, design.knees, "", design.paired)
        value = value_row(Values(metric.name, a, metric.share, metric.scale), left.rows(0, seeds), 0, "")
        models = truth[seeds:].mean() - truth[:seeds].mean()
        recipe = seeds > 1
        found.append(
            {
                "difference": _holds(row.ci_low, row.ci_high, 0.0 if recipe else models),
                "difference_models": _holds(row.models_ci_low, row.models_ci_high, models),
                "value": _holds(value.ci_low, value.ci_high, of_recipe if recipe else truth[0]),
                "undefined": float(row.ci_low != row.ci_low or value.ci_low != value.ci_low),
                "length": row.ci_high - row.ci_low,
                "error": row.difference - (0.0 if recipe else models),
                "square": (row.difference - (0.0 if recipe else models)) ** 2,
            }
        )
    return {**asdict(design), "round": number, "repeats": ROUND, **pd.DataFrame(found).sum().to_dict()}


def _holds(low: float, high: float, truth: float) -> float:
    return float(low <= truth <= high)


def summary(counts: pd.DataFrame) -> pd.DataFrame:
    """Coverage of each cell, and the length of the interval over 2 x 1.96 standard errors."""
    cells = list(Design.__dataclass_fields__)
    total = counts.groupby(cells, as_index=False).sum(numeric_only=True)
    for name in ("difference", "difference_models", "value", "undefined"):
        total[name] /= total["repeats"]
    ideal = 2 * 1.959964 * np.sqrt(total["square"] / total["repeats"])
    total["length"] = total["length"] / total["repeats"] / ideal
    return total.drop(columns=["round", "error", "square"])


def tables(cells: pd.DataFrame) -> Iterator[str]:
    """Markdown: least to most coverage by metric and knees, and the cells that miss .93 to .97."""
    several, one = cells[cells["seeds"] > 1], cells[cells["seeds"] == 1]
    asked = {
        "difference, recipe": several["difference"],
        "difference, trained models": several["difference_models"],
        "difference, one run": one["difference"],
        "value, recipe": several["value"],
        "value, one run": one["value"],
    }
    yield f"| interval of | {' | '.join(f'{metric}' for metric in cells['metric'].unique())} |"
    yield "|---" * (1 + cells["metric"].nunique()) + "|"
    for name, coverage in asked.items():
        parts = coverage.groupby(cells["metric"], sort=False)
        ranges = (f"{part.min():.3f} to {part.max():.3f}" for _, part in parts)
        yield f"| {name} | {' | '.join(ranges)} |"
    for name, coverage in asked.items():
        outside = cells.loc[coverage.index][(coverage < 0.93) | (coverage > 0.97)]
        yield f"\n{name}: {len(outside)} of {len(coverage)} cells outside .93 to .97"
        for index, cell in outside.iterrows():
            words = (f"{key} {cell[key]}" for key in Design.__dataclass_fields__)
            yield f"- {', '.join(words)}: {coverage[index]:.3f}"


def main(words: Sequence[str] | None = None) -> None:
    """Go on until every cell has its repeats, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("runs/coverage.csv"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(words)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if options.out.is_file():
        table = pd.read_csv(options.out)
        done = {tuple(row) for row in table[[*Design.__dataclass_fields__, "round"]].itertuples(index=False)}
    rounds = range(-(-options.repeats // ROUND))
    todo = [(d, number) for number in rounds for d in designs() if (*asdict(d).values(), number) not in done]
    with ProcessPoolExecutor(options.workers) as pool:
        made = pool.map(one_round, *zip(*todo, strict=True)) if todo else iter(())
        for row in progress(made, len(todo), "rounds"):
            line = pd.DataFrame([row])
            line.to_csv(options.out, mode="a", header=not options.out.is_file(), index=False)
    print("\n".join(tables(summary(pd.read_csv(options.out)))))


if __name__ == "__main__":
    main()
