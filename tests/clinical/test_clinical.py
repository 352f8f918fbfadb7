"""Calibration, net benefit, operating points and subgroups against closed forms and other packages."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import roc_auc_score, roc_curve

from oahier.clinical import (
    Event,
    calibration,
    calibration_index,
    decision_curve,
    events_of,
    sensitivity_at,
    subgroups,
)
from oahier.metrics import Rows, find_metrics
from oahier.statistics import clustered_auc, parse_predictions, summarise_rows
from tests.made_predictions import columns

COUNTS = (554, 81, 91, 24)
FAMILY = [0.025614035088, 0.010588235294, -0.008444444444, -0.033333333333]
ALL = [0.094736842105, -0.011764705882, -0.146666666667, -0.323076923077]


def binary(name):
    return next(found for found in find_metrics(name) if found.kind == "binary")


def made(knees=400, seed=0, per_subject=1, scale=1.0):
    """Logits with a slope of 1 / scale and no shift."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, knees)
    happened = generator.random(knees) < 1 / (1 + np.exp(-logits))
    p = 1 / (1 + np.exp(-scale * logits))
    return Event.of(p, happened, subject=[f"s{i // per_subject}" for i in range(knees)])


def test_intercept_and_slope_are_those_of_a_logit_model():
    event = made(per_subject=2, scale=2.0)
    found = calibration(event, resamples=0)
    logits = np.log(event.probability / (1 - event.probability))
    groups = np.unique(event.subject, return_inverse=True)[1]
    y = event.happened.astype(float)
    oracle = sm.Logit(y, sm.add_constant(logits)).fit(disp=0, cov_type="cluster", cov_kwds={"groups": groups})
    assert found.slope.value == pytest.approx(oracle.params[1], abs=1e-6)
    assert (found.slope.low, found.slope.high) == pytest.approx(oracle.conf_int()[1], abs=1e-4)
    assert found.slope.high < 1, "twice too extreme"
    shift = sm.Logit(y, np.ones(len(y)), offset=logits).fit(disp=0)
    assert found.intercept.value == pytest.approx(shift.params[0], abs=1e-6)


def test_knees_that_stand_twice_make_no_interval_shorter():
    event = made(200)
    twice = np.tile(np.arange(200), 2)
    one, two = calibration(event, resamples=0), calibration(event.select(twice), resamples=0)
    assert two.slope.value == pytest.approx(one.slope.value, abs=1e-8)
    assert two.slope.high - two.slope.low == pytest.approx(one.slope.high - one.slope.low, rel=0.02)


@pytest.mark.parametrize(
    ("p", "y", "slope", "note"),
    [
        ([0.3] * 8, [0, 1] * 4, False, "all probabilities are equal"),
        ([0.1, 0.2, 0.3, 0.8, 0.9, 0.95], [0, 0, 0, 1, 1, 1], False, "separate the classes"),
        ([0.1, 0.9, 0.5], [1, 1, 1], False, "needs knees with and without"),
        ([0.0, 1.0, 0.0, 1.0, 0.5, 0.5], [0, 1, 1, 0, 1, 0], True, ""),
    ],
)
def test_calibration_at_the_edges(p, y, slope, note):
    found = calibration(Event.of(p, y), resamples=20)
    assert math.isfinite(found.slope.value) is slope
    assert note in found.note
    assert found.observed.value == pytest.approx(np.mean(y))


def test_index_of_few_values_is_exact_and_of_many_small_where_calibrated():
    assert calibration_index(np.array([0.2, 0.2, 0.7, 0.7]), np.array([0, 1, 1, 1], bool)) == pytest.approx(
        0.3
    )
    good, bad = made(2000, scale=1.0), made(2000, scale=3.0)
    assert calibration_index(good.probability, good.happened) < 0.03
    assert calibration_index(bad.probability, bad.happened) > 0.08
    found = calibration(bad.select(np.arange(300)), resamples=40)
    assert found.index.low < found.index.value < found.index.high


def test_net_benefit_is_that_of_dcurves():
    """dcurves 1.1.7 (R and Python), its data df_binary: family history of 750 people against cancer."""
    cells = {(0, False): COUNTS[0], (0, True): COUNTS[1], (1, False): COUNTS[2], (1, True): COUNTS[3]}
    p = np.concatenate([np.full(n, float(risk)) for (risk, _), n in cells.items()])
    y = np.concatenate([np.full(n, ill) for (_, ill), n in cells.items()])
    curve = decision_curve(Event.of(p, y), [0.05, 0.15, 0.25, 0.35], resamples=50)
    assert curve.model == pytest.approx(FAMILY, abs=1e-9)
    assert curve.all == pytest.approx(ALL, abs=1e-9)
    assert (curve.low <= curve.model).all()
    assert (curve.model <= curve.high).all()
    with pytest.raises(ValueError, match="thresholds: expected values from 0 to below 1"):
        decision_curve(Event.of(p, y), [1.0])
    assert np.isnan(decision_curve(Event.of([np.nan, 0.2], [0, 1]), [0.5], resamples=0).model).all()


def test_sensitivity_at_a_specificity_is_a_point_of_the_curve():
    event = made(150, per_subject=2)
    false, true, _ = roc_curve(event.happened, event.probability, drop_intermediate=False)
    for specificity in (0.8, 0.9, 0.99, 1.0):
        point = sensitivity_at(event, specificity, resamples=200)
        assert point.sensitivity.value == pytest.approx(true[1 - false >= specificity - 1e-12].max())
        assert point.specificity >= specificity
        assert point.sensitivity.low <= point.sensitivity.value <= point.sensitivity.high
        decided = event.probability >= point.threshold
        assert decided[event.happened].mean() == pytest.approx(point.sensitivity.value)
    assert math.isnan(sensitivity_at(Event.of([0.2, 0.3], [0, 0])).sensitivity.value)
    assert sensitivity_at(Event.of([0.5] * 4, [0, 1, 0, 1]), 0.9, resamples=0).sensitivity.value == 0
    perfect = sensitivity_at(Event.of([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]), resamples=0)
    assert perfect.sensitivity.value == 1


def test_events_of_every_head():
    found = events_of(parse_predictions(columns(30)))
    assert [event.name for event in found] == ["OA", *(f"KL {grade} or more" for grade in range(1, 5))]
    assert found[2].happened.sum() == found[0].happened.sum(), "KL 2 or more is OA here"


def rows_of(event):
    return Rows.of(event.probability, event.happened.astype(int), subject=event.subject)


def test_subgroups_have_their_own_metric_and_interval():
    event = made(300, per_subject=2)
    rows = rows_of(event)
    side = np.array(["left", "right"] * 150)
    found = subgroups(rows, {"side": side, "age": np.arange(300) // 2}, binary("auc"))
    for line in found[:2]:
        inside = side == line.group
        assert line.estimate.value == pytest.approx(
            roc_auc_score(event.happened[inside], event.probability[inside])
        )
        assert line.estimate.low < line.estimate.value < line.estimate.high
    assert [line.group for line in found[2:]] == ["below 55", "55 to 65", "65 or more"]
    assert "too few to say" in {line.note for line in found[2:]}
    assert found[0].p_value == found[1].p_value
    assert found[0].p_adjusted >= found[0].p_value


@pytest.mark.slow
def test_interaction_test_keeps_its_level():
    ps = []
    for seed in range(30):
        rows = rows_of(made(240, seed=seed, per_subject=2))
        ps.append(subgroups(rows, {"side": ["left", "right"] * 120}, binary("auc"))[0].p_value)
    assert 0 <= np.mean(np.array(ps) < 0.05) <= 0.2


def test_interaction_test_finds_a_difference():
    event = made(400)
    worse = np.arange(400) < 200
    p = np.where(worse, np.random.default_rng(1).random(400), event.probability)
    rows = Rows.of(p, event.happened.astype(int))
    assert subgroups(rows, {"site": np.where(worse, "a", "b")}, binary("auc"))[0].p_value < 1e-4


def test_side_error_agrees_with_obuchowski():
    """The error of one subgroup by the jackknife is close to the closed form of its knees."""
    event = made(600, per_subject=2)
    line = subgroups(rows_of(event), {"all": ["x"] * 600}, binary("auc"))[0]
    closed = clustered_auc(event.happened.astype(int), [event.probability], event.subject)
    reach = 1.96 * math.sqrt(closed.covariance[0, 0])
    assert line.estimate.high - line.estimate.low == pytest.approx(2 * reach, rel=0.05)
    assert math.isnan(line.p_value), "one group has nothing to differ from"


def test_small_one_sided_and_unknown_subgroups_say_so():
    event = made(100)
    rows = rows_of(event)
    sex = ["f"] * 5 + ["m"] * 60 + [None] * 35
    found = {line.group: line for line in subgroups(rows, {"sex": sex}, binary("auc"))}
    assert found["f"].note == "too few to say"
    assert math.isnan(found["f"].estimate.value)
    assert found["unknown"].knees == 35
    only = np.where(event.happened, "ill", "well")
    assert {line.note for line in subgroups(rows, {"x": only}, binary("auc"))} == {"one class only"}
    (alone,) = summarise_rows([rows.where(np.array(sex) == "m")], [binary("auc")])
    assert (found["m"].estimate.low, found["m"].estimate.high) == (alone.ci_low, alone.ci_high)
    perfect = Rows.of(np.where(event.happened, 0.9, 0.1), event.happened.astype(int))
    line = subgroups(perfect, {"x": ["a", "b"] * 50}, binary("auc"))[0]
    assert line.estimate.value == 1
    assert math.isnan(line.estimate.low)
    assert line.p_value == 1
    with pytest.raises(ValueError, match="covariate x: expected 100 values, one a row, got 3"):
        subgroups(rows, {"x": [1, 2, 3]}, binary("auc"))
