"""Areas of clustered and of unpaired rows, and Bowker's test, against published and closed-form values."""

import csv
import json

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import SquareTable, mcnemar

from oahier.statistics import bowker, clustered_auc, delong, paired_auc_test, unpaired_auc_test


@pytest.fixture
def asah(shared_paper):
    folder = shared_paper.parent / "oracles"
    if not (folder / "aSAH.csv").is_file():
        pytest.skip(f"no aSAH.csv in {folder}")
    with (folder / "aSAH.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = {name: np.array([float(row[name]) for row in rows]) for name in ("wfns", "s100b", "ndka")}
    values = json.loads((folder / "oracles.json").read_text())["delong_aSAH"]
    return np.array([row["outcome"] == "Poor" for row in rows]).astype(int), scores, values


def test_areas_and_tests_are_those_of_proc(asah):
    labels, scores, values = asah
    for row in values["unpaired"]:
        found = unpaired_auc_test(labels, scores[row["b"]], labels, scores[row["a"]])
        assert (found.statistic, found.p_value) == pytest.approx((row["D"], row["p"]), abs=1e-9)
    for row in values["paired"]:
        found = paired_auc_test(labels, scores[row["b"]], scores[row["a"]])
        assert (found.statistic, found.p_value) == pytest.approx((row["Z"], row["p"]), abs=1e-9)
        for side in ("greater", "less"):
            if f"p_{side}" in row:
                found = paired_auc_test(labels, scores[row["b"]], scores[row["a"]], alternative=side)
                assert found.p_value == pytest.approx(row[f"p_{side}"], abs=1e-9)
    alone = clustered_auc(labels, list(scores.values()), np.arange(len(labels)))
    assert alone.auc == pytest.approx([values["auc"][name] for name in scores], abs=1e-12)
    assert np.diag(alone.covariance) == pytest.approx([values["var"][name] for name in scores], abs=1e-12)


def made(subjects=60, per_subject=2, seed=0):
    generator = np.random.default_rng(seed)
    names = np.repeat(np.arange(subjects), per_subject)
    person = generator.normal(0, 1, subjects)[names]
    labels = (person + generator.normal(0, 1, len(names)) > 0.3).astype(int)
    scores = [labels + person + generator.normal(0, noise, len(names)) for noise in (1.0, 2.0)]
    return labels, scores, names


def test_one_row_a_subject_is_delong():
    labels, scores, _ = made()
    one, other = clustered_auc(labels, scores, np.arange(len(labels))), delong(labels, scores)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-15)
    assert one.auc == pytest.approx([roc_auc_score(labels, score) for score in scores])


def test_knees_that_stand_twice_count_once():
    """DeLong would halve the variance of a table in which every knee stands twice; here it stays."""
    labels, scores, names = made(per_subject=1)
    twice = np.tile(np.arange(len(labels)), 2)
    found = clustered_auc(labels[twice], [score[twice] for score in scores], names[twice])
    np.testing.assert_allclose(found.covariance, delong(labels, scores).covariance, atol=1e-15)
    naive = delong(labels[twice], [score[twice] for score in scores])
    assert naive.covariance[0, 0] < 0.6 * found.covariance[0, 0]


def test_close_to_the_jackknife_over_subjects():
    labels, scores, names = made(subjects=300)
    without = np.array(
        [[roc_auc_score(labels[names != i], s[names != i]) for i in range(300)] for s in scores]
    )
    centred = without - without.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        clustered_auc(labels, scores, names).covariance, 299 / 300 * centred @ centred.T, rtol=0.02
    )


def test_edges(shapes_unchecked):
    labels, scores, names = made(10)
    assert np.isnan(clustered_auc(np.ones(20, int), scores, names).auc).all()
    perfect = unpaired_auc_test([0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 1, 1], [0, 1, 2, 3])
    assert (perfect.difference, np.isnan(perfect.p_value)) == (0, True), "no spread, so no test"
    equal = clustered_auc(labels, [np.zeros(20)], names)
    assert equal.auc[0] == 0.5
    with pytest.raises(ValueError, match="sets without a common subject"):
        unpaired_auc_test(labels, scores[0], labels, scores[1], subjects_a=names, subjects_b=names)
    with pytest.raises(ValueError, match="alternative: expected two-sided, greater or less"):
        paired_auc_test(labels, *scores, alternative="bigger")
    with pytest.raises(ValueError, match=r"labels, scores, subjects: expected"):
        clustered_auc(labels, scores, names[:3])


def test_unpaired_interval_is_welchs():
    """Variances of both sets add, degrees of freedom are Welch's over subjects, interval and p agree."""
    sets = [made(40, 2, seed=1), made(25, 2, seed=2)]
    (labels, (scores, _), names), (others, (_, worse), people) = sets
    found = unpaired_auc_test(labels, scores, others, worse, subjects_a=names, subjects_b=people + 100)
    variances = [
        clustered_auc(*one).covariance[0, 0] for one in ((labels, [scores], names), (others, [worse], people))
    ]
    total = sum(variances)
    df = total**2 / (variances[0] ** 2 / 39 + variances[1] ** 2 / 24)
    assert found.df == pytest.approx(df)
    reach = t.ppf(0.975, df) * np.sqrt(total)
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (found.difference - reach, found.difference + reach)
    )
    assert found.p_value == pytest.approx(2 * t.sf(abs(found.difference) / np.sqrt(total), df))


def test_bowker_is_that_of_statsmodels():
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 4, 300), generator.integers(0, 4, 300)
    oracle = SquareTable(np.bincount(a * 4 + b, minlength=16).reshape(4, 4), shift_zeros=False).symmetry()
    found = bowker(a, b, grades=4)
    assert (found.statistic, found.degrees) == (pytest.approx(oracle.statistic), oracle.df)
    assert found.p_value == pytest.approx(oracle.pvalue)
    two = np.bincount((a > 1) * 2 + (b > 1), minlength=4).reshape(2, 2)
    found = bowker((a > 1).astype(int), (b > 1).astype(int), grades=2)
    assert found.p_value == pytest.approx(mcnemar(two, exact=False, correction=False).pvalue)
    same = bowker(a, a, grades=4)
    assert (same.statistic, same.degrees, same.p_value) == (0, 0, 1)
    assert bowker(np.array([0, 1]), np.array([1, 0])).degrees == 1, (
        "pairs that are never exchanged do not count"
    )
