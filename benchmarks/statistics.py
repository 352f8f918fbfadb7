"""Bootstraps and comparisons over a scikit-learn loop, and DeLong's test over its textbook form."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from benchmarks.harness import Comparison, Cost, cost, in_turn
from oahier.metrics import weighted_auc, weighted_qwk
from oahier.metrics.rows import decisions
from oahier.statistics import compare_predictions, delong
from oahier.statistics.bootstrap import resampled_values
from oahier.statistics.intervals import Statistic
from oahier.statistics.jackknife import GROUPS
from oahier.statistics.predictions import HeadPredictions, Predictions

Floats = npt.NDArray[np.float64]
Score = Callable[[npt.NDArray[np.int64]], float]


def statistics(quick: bool) -> list[Comparison]:
    """Goals: 300 times faster for QWK, 60 times for AUC, 4 times for DeLong, 3 times for comparisons."""
    if quick:
        small = _compared(1_200, seeds=1, looped=2, rounds=1)
        boots = _bootstraps(rows=60, resamples=40, looped=10, rounds=1)
        return [*boots, _delong(500, rounds=1), small, _command(1_200)]
    return [
        *_bootstraps(rows=500, resamples=10_000, looped=400, rounds=5),
        _delong(100_000, rounds=5),
        _delong(1_000_000, rounds=2),
        _compared(9_000, seeds=10, looped=4, rounds=2, metrics=None),
        _compared(1_000_000, seeds=1, looped=2, rounds=1),
        _command(1_000_000),
    ]


def _compared(
    rows: int, seeds: int, looped: int, rounds: int, metrics: Sequence[str] | None = ("auc", "qwk")
) -> Comparison:
    """Metrics of two arms with Obuchowski and Rockette's intervals, each group of subjects left out.

    The loop leaves out a few groups of 150 by scikit-learn; its cost is taken times what is left.
    """
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, rows)
    names = np.array([f"{row // 2:07d}" for row in range(rows)])
    arms = [[_predictions(names, labels, generator) for _ in range(seeds)] for _ in "ab"]
    group = generator.permutation(np.arange(rows) // 2 % GROUPS)
    models = [model for arm in arms for model in arm]

    def loop() -> None:
        for left in range(looped):
            inside = np.flatnonzero(group != left)
            for model in models:
                _sklearn_auc(labels >= 2, model.heads["oa"].severity, inside)
                _sklearn_qwk(labels, model.heads["kl"].predicted, inside)

    def ours() -> None:
        compare_predictions(*arms, metrics=metrics, paired_seeds=True)

    made = in_turn(loop, ours, rounds, warm_up=False)
    scaled = tuple((first / (looped / GROUPS), second) for first, second in made)
    what = "AUC and QWK" if metrics else "all 16 metrics (the loop: AUC and QWK)"
    return Comparison(
        "scikit-learn loop over groups of subjects", "oahier, compare_predictions", scaled, 3,
        larger_is_better=True,
        note=f"{what}, {rows} knees, {seeds} seeds an arm; {looped} of {GROUPS} groups are looped and scaled",
    )  # fmt: skip


def _command(rows: int) -> Comparison:
    """``oahier compare`` on two files, in a process of its own, against the two minutes that it may take."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, rows)
    names = np.array([f"{row // 2:07d}" for row in range(rows)])
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(_written(Path(folder) / f"{arm}.csv", names, labels, generator)) for arm in "ab"]
        words = [sys.executable, "-m", "oahier", "compare", *paths, "--metrics", "auc", "qwk"]
        taken = cost(lambda: subprocess.run(words, check=True, capture_output=True))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    allowed = Cost(120.0, 120.0)
    note = f"AUC and QWK of two files of {rows} knees, one seed an arm; at most {peak:.2f} GB"
    return Comparison("oahier compare, files to table", "two minutes", ((taken, allowed),), 1, note=note)


def _written(
    path: Path,
    names: npt.NDArray[np.str_],
    labels: npt.NDArray[np.int64],
    generator: np.random.Generator,
) -> Path:
    """A file of predictions."""
    made = _predictions(names, labels, generator)
    columns: dict[str, Any] = {"knee": made.knee, "subject": made.subject}
    columns |= {f"label_{head}": known for head, known in made.labels.items()}
    columns["prob_oa"] = made.heads["oa"].probabilities[:, 1]
    columns |= {f"prob_kl_{grade}": p for grade, p in enumerate(made.heads["kl"].probabilities.T)}
    for head, said in made.heads.items():
        columns |= {f"pred_{head}": said.predicted, f"severity_{head}": said.severity}
    pd.DataFrame(columns).to_csv(path, index=False, float_format="%.6g")
    return path


def _predictions(
    names: npt.NDArray[np.str_], labels: npt.NDArray[np.int64], generator: np.random.Generator
) -> Predictions:
    centre = labels + generator.normal(0, 0.9, len(labels))
    p = np.exp(-((np.arange(5) - centre[:, None]) ** 2))
    p /= p.sum(axis=1, keepdims=True)
    oa = p[:, 2:].sum(axis=1)
    pairs = {"oa": (np.stack([1 - oa, oa], axis=1), oa), "kl": (p, p @ np.arange(5))}
    heads = {head: HeadPredictions(p, decisions(p), score) for head, (p, score) in pairs.items()}
    knees = np.array([f"{row:07d}" for row in range(len(labels))])
    known = {"oa": (labels >= 2).astype(np.int64), "kl": labels}
    return Predictions("made", knees, names, True, known, heads)


def _bootstraps(rows: int, resamples: int, looped: int, rounds: int) -> Iterator[Comparison]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, rows)
    grades = [np.clip(labels + generator.integers(-1, 2, rows), 0, 4) for _ in "ab"]
    scores = [labels + generator.normal(0, 1.5, rows) for _ in "ab"]
    positive = labels >= 2
    yield _bootstrap(
        "QWK",
        [partial(weighted_qwk, predicted=predicted, labels=labels) for predicted in grades],
        [partial(_sklearn_qwk, labels, predicted) for predicted in grades],
        (rows, resamples, looped, rounds),
        goal=300,
    )
    yield _bootstrap(
        "AUC",
        [partial(weighted_auc, scores=score, positive=positive) for score in scores],
        [partial(_sklearn_auc, positive, score) for score in scores],
        (rows, resamples, looped, rounds),
        goal=60,
    )


def _bootstrap(
    name: str, ours: list[Statistic], loop: list[Score], sizes: tuple[int, int, int, int], goal: float
) -> Comparison:
    """The loop runs over the first few resamples; its cost is taken times what is left."""
    rows, resamples, looped, rounds = sizes
    subjects = [f"{row:04d}" for row in range(rows)]
    found: dict[str, Floats] = {}

    def weighted() -> None:
        found["ours"] = resampled_values(ours, subjects, resamples, np.random.default_rng(42))

    def copied() -> None:
        generator = np.random.default_rng(42)
        drawn = (generator.integers(0, rows, rows) for _ in range(looped))
        found["loop"] = np.array([[score(index) for score in loop] for index in drawn]).T

    made = in_turn(copied, weighted, rounds)
    np.testing.assert_allclose(found["ours"][:, :looped], found["loop"], atol=1e-12)
    scaled = tuple((first / (looped / resamples), second) for first, second in made)
    note = f"{resamples} paired resamples of {rows} knees; the loop is measured on {looped} and scaled"
    return Comparison(
        f"scikit-learn loop, {name}", f"oahier, {name}", scaled, goal, larger_is_better=True, note=note
    )


def _sklearn_qwk(labels: npt.NDArray[np.int64], grades: npt.NDArray[np.int64], index: Any) -> float:
    return float(cohen_kappa_score(labels[index], grades[index], weights="quadratic", labels=range(5)))


def _sklearn_auc(positive: npt.NDArray[np.bool_], scores: Floats, index: Any) -> float:
    return float(roc_auc_score(positive[index], scores[index]))


def _delong(rows: int, rounds: int) -> Comparison:
    generator = np.random.default_rng(0)
    positive = generator.random(rows) < 0.4
    scores = positive + generator.normal(0, 1, (2, rows))
    found: dict[str, tuple[Floats, Floats]] = {}

    def ours() -> None:
        result = delong(positive, scores)
        found["ours"] = result.auc, result.covariance

    def textbook() -> None:
        found["textbook"] = _midrank_delong(positive, scores)

    made = in_turn(textbook, ours, rounds, warm_up=rows <= 100_000)
    for first, second in zip(found["ours"], found["textbook"], strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-9)
    return Comparison(
        "DeLong by midranks in a loop",
        "oahier, DeLong",
        made,
        4,
        larger_is_better=True,
        note=f"{rows} knees, two models",
    )


def _midrank_delong(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Sun & Xu 2014, algorithm 2, with midranks found by walking over runs of equal values."""
    ordered = np.concatenate([scores[:, positive], scores[:, ~positive]], axis=1)
    m, n = int(positive.sum()), int((~positive).sum())
    everyone = np.stack([_midranks(row) for row in ordered])
    among_positive = np.stack([_midranks(row[:m]) for row in ordered])
    among_negative = np.stack([_midranks(row[m:]) for row in ordered])
    areas = everyone[:, :m].sum(axis=1) / m / n - (m + 1) / 2 / n
    v10 = (everyone[:, :m] - among_positive) / n
    v01 = 1 - (everyone[:, m:] - among_negative) / m
    return areas, np.cov(v10) / m + np.cov(v01) / n


def _midranks(values: Floats) -> Floats:
    order = np.argsort(values)
    ordered = values[order]
    ranks = np.zeros(len(values))
    start = 0
    while start < len(values):
        end = start
        while end < len(values) and ordered[end] == ordered[start]:
            end += 1
        ranks[start:end] = 0.5 * (start + end - 1) + 1
        start = end
    found = np.empty(len(values))
    found[order] = ranks
    return found
