"""Odds, verdicts, small samples and perfect predictions."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from made_predictions import columns

from oahier.metrics import Rows, registered
from oahier.metrics.probability import calibration_error, reliability
from oahier.statistics import (
    adjust_comparisons,
    compare_predictions,
    delong,
    paired_difference,
    parse_predictions,
    sentences,
    summarise_predictions,
)
from oahier.statistics.claims import verdict
from oahier.statistics.margins import parse_margins
from oahier.statistics.obuchowski_rockette import Spread, random_seeds
from oahier.statistics.paired_predictions import align
from oahier.statistics.scales import scaled_interval
from oahier.statistics.sign_flips import sign_flip_test


@pytest.mark.parametrize("knees", [2, 3, 5, 6, 12])
def test_unanimous_subjects_allow_no_smaller_p(knees: int) -> None:
    """The worst and the best model on a handful of knees."""
    labels = np.arange(knees) % 3
    tables = []
    for right in (False, True):
        p = np.eye(5)[labels if right else (labels + 2) % 5] * 0.8 + 0.04
        grades = {f"prob_kl_{grade}": p[:, grade].tolist() for grade in range(5)}
        tables.append(
            parse_predictions({"knee": [f"k{i:02d}" for i in range(knees)], "label_kl": labels} | grades)
        )
    for row in adjust_comparisons(compare_predictions(tables[:1], tables[1:])):
        assert not row.p_value < 2.0 ** (1 - knees)
        assert not row.p_not_better < 2.0 ** -(knees + 1)
        assert math.isfinite(row.ci_low) <= (knees >= 6)
        assert row.note or math.isfinite(row.ci_low)
        if knees < 6:
            assert row.verdict == "undecided"


def test_few_discordant_knees_are_tested_exactly() -> None:
    a, b = np.zeros(12), np.repeat([1.0, 0.0], 6)
    found = paired_difference(a, b, list("abcdefghijkl"))
    assert (found.p_value, found.p_not_better, found.test) == (2 / 2**6, 1 / 2**6, "sign_flip")


def test_sign_flips_are_all_ways_to_swap() -> None:
    values = np.array([0.3, -0.1, 0.4, 0.2, 0.0, -0.2])
    sums = [sum(sign * value for sign, value in zip(signs, values, strict=True))
            for signs in itertools.product((1, -1), repeat=6)]  # fmt: skip
    expected = np.mean(np.abs(sums) >= abs(values.sum()) - 1e-12)
    assert sign_flip_test(values) == pytest.approx(
        (expected, np.mean(np.array(sums) >= values.sum() - 1e-12))
    )


def _said(better: str = "larger", margin: float = math.nan, **values: Any) -> str:
    low, high = values["low"], values["high"]
    middle = (low + high) / 2
    error = (high - low) / 2 / 1.959964
    return verdict(
        middle,
        low,
        high,
        values.get("p", 0.001),
        Spread(error, math.inf),
        smaller=better == "smaller",
        margin=margin,
    )


def test_verdicts_say_no_more_than_the_interval() -> None:
    assert _said(low=0.01, high=0.2) == "superior"
    assert _said(low=0.01, high=0.2, better="smaller") == "inferior"
    assert _said(low=0.01, high=0.2, p=0.06) == "undecided"  # after the correction
    assert _said(low=-0.2, high=-0.01, p=0.06, margin=0.5) == "equivalent"
    assert _said(low=0.01, high=0.04, margin=0.05) == "superior within the margin"
    assert _said(low=-0.04, high=-0.01, margin=0.05) == "inferior within the margin"
    assert _said(low=-0.04, high=0.2, p=0.3, margin=0.05) == "non-inferior"
    assert _said(low=-0.2, high=0.04, p=0.3, margin=0.05, better="smaller") == "non-inferior"
    assert _said(low=-0.2, high=0.04, p=0.3, margin=0.05) == "undecided"
    assert _said(low=-0.052, high=0.04, p=0.3, margin=0.05) == "equivalent"  # 90 % interval: TOST at 0.05
    assert _said(low=math.nan, high=math.nan, margin=1.0) == "undecided"


def test_a_verdict_follows_the_corrected_p() -> None:
    generator = np.random.default_rng(0)
    subjects = [f"{knee:02d}" for knee in range(40)]
    rows = [paired_difference(np.zeros(40), generator.normal(0.36, 1, 40), subjects) for _ in range(6)]
    alone = [row.verdict for row in rows]
    together = [row.verdict for row in adjust_comparisons(rows, "holm")]
    assert alone.count("superior") > together.count("superior")
    for row, said in zip(adjust_comparisons(rows, "holm"), together, strict=True):
        assert (said == "superior") == (row.p_adjusted < 0.05)


def test_margins_are_stated_for_all_or_by_metric() -> None:
    tables = [[parse_predictions(columns(60, seed))] for seed in (0, 1)]
    rows = compare_predictions(*tables, metrics=["qwk", "mae"], margins=parse_margins(["0.05", "mae=0.2"]))
    assert {row.metric: row.margin for row in rows} == {"qwk": 0.05, "mae": 0.2}
    assert all(math.isnan(row.margin) for row in compare_predictions(*tables, metrics=["qwk"]))
    for wrong in ("qwk", "qwk=x", "-1", "mae=0", "nan"):
        with pytest.raises(ValueError, match="margin: expected a number above 0, or METRIC=number, got"):
            parse_margins([wrong])


def test_intervals_end_where_possible_differences_do() -> None:
    """Two paired seeds leave one degree of freedom: t is 12.7, and the interval holds all differences."""
    one, other, third, fourth = ([parse_predictions(columns(40, seed))] for seed in range(4))
    rows = compare_predictions(one + other, third + fourth, paired_seeds=True)
    cut = [row for row in rows if row.ci_low == -row.largest and row.ci_high == row.largest]
    assert cut, "the case that this is about"
    for row in rows:
        assert -row.largest <= row.ci_low <= row.models_ci_low or row.ci_low <= row.ci_high <= row.largest
    for row in cut:
        assert re.search(r"design \(1(\.\d degrees| degree) of freedom\) can exclude nothing\.$", row.note)
        assert row.detectable == math.inf
        assert "seen with 80 % power: no possible difference" in sentences(row)[0]
    largest = {(row.task, row.metric): row.largest for row in rows}
    assert largest["KL", "qwk"] == 2
    assert largest["KL", "mae"] == 4
    assert largest["OA", "brier"] == 1


def test_two_sentences_a_row() -> None:
    a, b = ([parse_predictions(columns(60, seed)) for seed in seeds] for seeds in ((0, 1, 2), (3, 4, 5)))
    (row,) = compare_predictions(a, b, metrics=["qwk"], paired_seeds=True)
    recipe, models = sentences(row, "Single", "Dual")
    assert recipe.startswith("KL qwk, for this recipe (new knees, new runs): Dual - Single is ")
    assert "verdict: undecided" in recipe
    assert models.startswith("KL qwk, for these trained models (new knees): 95 % interval ")
    (row,) = compare_predictions(a[:1], b[:1], metrics=["qwk"])
    (one,) = sentences(row)
    assert "conditional on the one run a side" in one
    for text in (recipe, models, one):
        assert "no difference" not in text
        assert "is better" not in text


def test_smaller_values_are_better_for_errors() -> None:
    good, bad = (parse_predictions(columns(80, 0, noise=noise)) for noise in (0.3, 3.0))
    row = compare_predictions([bad], [good], metrics=["mae"])[0]
    assert (row.difference < 0, row.verdict, row.p_not_better < 0.01) == (True, "superior", True)
    row = compare_predictions([good], [bad], metrics=["mae"])[0]
    assert (row.verdict, row.p_not_better > 0.99) == ("inferior", True)


def _perfect(knees: int, right: bool = True) -> Any:
    labels = np.arange(knees) % 5
    p = np.eye(5)[labels if right else np.zeros(knees, dtype=int)]
    grades = {f"prob_kl_{grade}": p[:, grade] for grade in range(5)}
    return parse_predictions({"knee": [f"k{i:02d}" for i in range(knees)], "label_kl": labels} | grades)


def test_perfect_and_constant_predictions_have_no_made_up_certainty() -> None:
    found = {row.metric: row for row in compare_predictions([_perfect(30)], [_perfect(30)])}
    assert found["accuracy"].ci_high == pytest.approx(1 - 0.025 ** (1 / 30))
    assert (found["accuracy"].p_value, found["accuracy"].verdict) == (1, "undecided")
    assert math.isnan(found["qwk"].ci_low)
    assert found["qwk"].note == "No interval: no subject differs from the others."
    constant = {row.metric: row for row in compare_predictions([_perfect(30)], [_perfect(30, right=False)])}
    assert constant["qwk"].b == 0
    assert math.isnan(constant["spearman"].b)
    assert "undefined" in constant["spearman"].note
    assert constant["accuracy"].verdict == "inferior"
    for row in summarise_predictions([_perfect(30)], metrics=["macro_auc", "qwk", "mae"]):
        assert math.isnan(row.ci_low)
        assert row.scope == "nothing"


def test_forty_unanimous_subjects_have_the_smallest_p_that_they_allow() -> None:
    labels = np.arange(40) % 4
    right, wrong = (
        parse_predictions(
            {"knee": [f"k{i:02d}" for i in range(40)], "label_kl": labels}
            | {f"prob_kl_{grade}": (labels + off == grade).astype(float) for grade in range(5)}
        )
        for off in (0, 1)
    )
    for one, other, worse in ((right, wrong, 1), (wrong, right, 0)):
        (row,) = compare_predictions([one], [other], metrics=["mae"])
        assert row.p_value == 2 / 2**40
        assert row.p_not_better == pytest.approx(worse, abs=1e-9)


def test_delong_of_few_knees_has_no_p_of_zero() -> None:
    pair = delong([0, 0, 0, 1, 1, 1], [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]]).compare(0, 1)
    assert (pair.difference, pair.p_value) == (-1, 2 / 2**6)
    assert math.isnan(pair.ci_low)
    assert math.isnan(pair.ci_high)
    assert all(map(math.isnan, delong([0, 0, 0, 1, 1, 1], [[1, 2, 3, 4, 5, 6]]).interval(0)))


def test_delong_covariances_serve_several_seeds() -> None:
    a, b = ([parse_predictions(columns(60, seed)) for seed in seeds] for seeds in ((0, 1, 2), (3, 4, 5)))
    (row,) = compare_predictions(a, b, metrics=["auc"], auc_test="delong")
    scores = [one.heads["oa"].probabilities[:, 1] for one in (*a, *b)]
    areas = delong(a[0].labels["oa"], scores)
    expected = random_seeds(areas.auc[:3], areas.auc[3:], areas.covariance, paired=False)
    assert row.standard_error == pytest.approx(expected.error)
    assert row.df == pytest.approx(expected.df)
    two = [[parse_predictions(columns(60, seed, per_subject=2))] for seed in (0, 1)]
    (clustered,) = compare_predictions(*two, metrics=["auc"], auc_test="delong")
    assert clustered.test == "clustered_delong"
    assert clustered.df == math.inf
    assert clustered.difference == compare_predictions(*two, metrics=["auc"])[0].difference


def test_scales_keep_values_where_they_can_be() -> None:
    for name, value in (("logit", 0.97), ("fisher", -0.97), ("log", 0.03)):
        low, high = scaled_interval(value, Spread(0.1, 20.0), name)
        assert {"logit": 0, "fisher": -1, "log": 0}[name] < low < value < high
        assert high < {"logit": 1, "fisher": 1, "log": math.inf}[name]
    assert all(map(math.isnan, scaled_interval(1.0, Spread(0.1, 20.0), "logit")))
    assert all(map(math.isnan, scaled_interval(0.5, Spread(math.nan, 20.0), "identity")))


def test_no_head_is_implied_without_being_asked_for() -> None:
    table = {name: cells for name, cells in columns(10).items() if name != "prob_oa"}
    model = parse_predictions(table)
    cohort = align([model])
    assert cohort.rows(model, "oa") is None
    assert cohort.tasks() == ["kl"]
    assert cohort.tasks(oa_from_kl=True) == ["oa", "kl"]


def test_calibration_is_of_rows_whatever_their_number() -> None:
    """As many rows as classes, and not: confidence is the largest probability of each row."""
    for rows in (3, 7):
        p = np.random.default_rng(rows).dirichlet(np.ones(3), rows)
        labels = np.arange(rows) % 3
        confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
        bins = np.floor(confidence * 10)
        expected = sum(abs((right - confidence)[bins == one].sum()) for one in np.unique(bins)) / rows
        found = Rows.of(p, labels)
        assert calibration_error(np.ones((1, rows)), found)[0] == pytest.approx(expected)
        curve = reliability(found)
        assert np.nansum(curve.confidence * curve.count) == pytest.approx(confidence.sum())


def test_every_registered_metric_has_a_scale_that_fits_its_values() -> None:
    """Metrics with values from 0 to 1 on the logit, correlations on Fisher's, errors on the log."""
    scales = {metric.name: metric.scale for metric in registered() if metric.kind != "hierarchy"}
    assert {name for name, scale in scales.items() if scale == "fisher"} == {
        "qwk",
        "linear_kappa",
        "spearman",
    }
    assert {name for name, scale in scales.items() if scale == "log"} == {"brier", "mae", "macro_mae", "rps"}
    assert {name for name, scale in scales.items() if scale == "identity"} == {"ece"}
