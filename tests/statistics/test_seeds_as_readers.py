"""Seeds as readers, against the printed values of Van Dyke's data and by hand."""

from __future__ import annotations

import csv
import itertools
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from oahier.metrics import weighted_auc
from oahier.statistics import (
    delong,
    paired_difference,
    paired_statistic,
)
from oahier.statistics.claims import claim
from oahier.statistics.jackknife import leave_out
from oahier.statistics.obuchowski_rockette import Spread, fixed_seeds, random_seeds, random_seeds_of_one
from oahier.statistics.power import power_of


@pytest.fixture(scope="module")
def van_dyke(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Truth of 114 cases, and ratings of 2 treatments x 5 readers."""
    path = shared_data.parent / "oracles" / "VanDyke.csv"
    if not path.is_file():
        pytest.skip(f"Van Dyke's ratings are not at {path}")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    cases = sorted({int(row["case"]) for row in rows})
    truth, ratings = np.zeros(len(cases)), np.zeros((10, len(cases)))
    for row in rows:
        case = cases.index(int(row["case"]))
        truth[case] = int(row["truth"])
        ratings[5 * (int(row["treatment"]) - 1) + int(row["reader"]) - 1, case] = float(row["rating"])
    return truth, ratings


def _interval(difference: float, spread: Spread) -> tuple[float, float]:
    found = claim(difference, spread)
    return found.low, found.high


def test_printed_values_of_van_dyke(van_dyke: tuple[np.ndarray, np.ndarray]) -> None:
    """MRMCaov 0.3.0 and its article (J Stat Softw); the jackknife's with the same formulas."""
    truth, ratings = van_dyke
    areas = delong(truth, ratings)
    a, b = areas.auc[5:], areas.auc[:5]  # treatment 1 minus 2
    order = [*range(5, 10), *range(5)]
    covariance = areas.covariance[np.ix_(order, order)]
    spread = random_seeds(a, b, covariance, paired=True)
    difference = float(b.mean() - a.mean())
    assert difference == pytest.approx(-0.04380032, abs=1e-8)
    assert (spread.error, spread.df) == (
        pytest.approx(0.0206825, abs=1e-7),
        pytest.approx(15.06611, abs=1e-5),
    )
    assert _interval(difference, spread) == pytest.approx((-0.087867196, 0.0002665519), abs=1e-9)
    found = claim(difference, spread)
    assert found.p_value == pytest.approx(0.05123303, abs=1e-8)
    assert (difference / spread.error) ** 2 == pytest.approx(4.484854, abs=1e-6)

    statistics = [partial(weighted_auc, scores=row, positive=truth == 1) for row in ratings[order]]
    left = leave_out(statistics, [f"{case:03d}" for case in range(114)])
    np.testing.assert_allclose(left.values, [*a, *b])
    spread = random_seeds(a, b, left.covariance, paired=True)
    assert spread.df == pytest.approx(15.25967, abs=1e-5)
    assert _interval(difference, spread) == pytest.approx((-0.0879595, 0.00035885), abs=1e-7)
    assert claim(difference, spread).p_value == pytest.approx(0.05166569, abs=1e-8)
    fixed = fixed_seeds(left.covariance, np.repeat([-0.2, 0.2], 5), math.inf)
    assert fixed.error == pytest.approx(0.01871748, abs=1e-8)
    assert difference / fixed.error == pytest.approx(-2.340075, abs=1e-6)
    assert _interval(difference, fixed) == pytest.approx((-0.08048591, -0.00711473), abs=1e-8)

    row = paired_statistic(
        statistics[:5], statistics[5:], [f"{case:03d}" for case in range(114)], paired=True
    )
    assert (row.ci_low, row.ci_high) == pytest.approx((-0.0879595, 0.00035885), abs=1e-7)
    assert (row.scope, row.test, row.verdict) == ("recipe", "obuchowski_rockette", "undecided")


def test_nested_and_single_arms_by_hand() -> None:
    """Variances of means in a linear model: seeds independent, knees shared with known covariances."""
    generator = np.random.default_rng(0)
    root = generator.normal(size=(7, 9))
    covariance, a, b = root @ root.T / 1e4, generator.normal(size=3), generator.normal(size=4)
    within_a = np.mean([covariance[i, j] for i, j in itertools.permutations(range(3), 2)])
    within_b = np.mean([covariance[i, j] for i, j in itertools.permutations(range(3, 7), 2)])
    across = np.mean([covariance[i, j] for i in range(3) for j in range(3, 7)])
    squares = np.var(a, ddof=1) / 3, np.var(b, ddof=1) / 4
    variance = sum(squares) + max(within_a + within_b - 2 * across, 0)
    found = random_seeds(a, b, covariance, paired=False)
    assert found.error == pytest.approx(math.sqrt(variance))
    assert found.df == pytest.approx(variance**2 / (squares[0] ** 2 / 2 + squares[1] ** 2 / 3))
    assert random_seeds(a, b, covariance, paired=False, df=1.5).df == 1.5
    alone = random_seeds_of_one(a, covariance[:3, :3], math.inf)
    assert alone.error == pytest.approx(math.sqrt(squares[0] + max(within_a, 0)))
    assert math.isnan(random_seeds(a[:1], b, covariance[2:, 2:], paired=False).error)
    with pytest.raises(ValueError, match="paired seeds: expected as many models on each side, got 3 and 4"):
        random_seeds(a, b, covariance, paired=True)


def test_means_of_values_are_a_t_test() -> None:
    """One run a side, one value a knee: the jackknife of a mean is its standard error."""
    from scipy.stats import ttest_1samp

    generator = np.random.default_rng(3)
    a, b = generator.normal(0, 1, 30), generator.normal(0.3, 1, 30)
    found = paired_difference(a, b, [f"{knee:02d}" for knee in range(30)])
    expected = ttest_1samp(b - a, 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.p_not_better == pytest.approx(ttest_1samp(b - a, 0, alternative="greater").pvalue)
    assert power_of(found.detectable, found.standard_error, 29.0) == pytest.approx(0.8)


def test_many_subjects_are_left_out_in_groups() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(0, 1, (2, 5000))
    subjects = [f"{knee // 2:04d}" for knee in range(5000)]
    found = paired_difference(*values, subjects)
    by_subject = (values[1] - values[0]).reshape(-1, 2).mean(axis=1)
    expected = by_subject.std(ddof=1) / math.sqrt(2500)
    assert found.standard_error == pytest.approx(expected, rel=0.15)
    assert (found.subjects, found.df) == (2500, 149)
