from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from oahier.phantom.cohort import plan_subject, severity_from_quantile
from oahier.phantom.disease import grade_from_severity

BALANCED = (1.0, 1.0, 1.0, 1.0, 1.0)


def plans(count, knees=1, visits=1, seed=0, weights=BALANCED):
    return [
        plan
        for number in range(count)
        for plan in plan_subject(number, seed=seed, knees=knees, visits=visits, grade_weights=weights)
    ]


def test_a_knee_is_the_same_however_many_are_asked_for():
    few = {plan.knee: plan for plan in plans(5)}
    many = {plan.knee: plan for plan in plans(8, knees=2, visits=3)}
    assert all(many[name] == plan for name, plan in few.items())
    assert len(many) == 8 * 2 * 3


def test_seeds_differ():
    assert all(a.anatomy != b.anatomy for a, b in zip(plans(4, seed=0), plans(4, seed=1), strict=True))


def test_anatomy_and_scan_do_not_know_the_severity():
    healthy = plans(6, knees=2, visits=2, weights=(1, 0, 0, 0, 0))
    ill = plans(6, knees=2, visits=2, weights=(0, 0, 0, 0, 1))
    for a, b in zip(healthy, ill, strict=True):
        assert a.true_kl <= 1 < 4 == b.true_kl  # a visit may progress
        assert (a.anatomy, a.scan, a.side) == (b.anatomy, b.scan, b.side)


def test_anatomy_and_scan_are_statistically_independent_of_severity():
    knees = plans(600)
    severity = [plan.severity for plan in knees]
    columns = np.transpose(
        [
            (
                *(*plan.anatomy.as_vector(), plan.side == "left"),
                *(*plan.scan.rotation, *plan.scan.translation, plan.scan.gain),
                *(plan.scan.bias, plan.scan.noise, plan.scan.resting_fluid),
            )
            for plan in knees
        ]
    )
    values = [stats.spearmanr(severity, column).pvalue for column in columns]
    assert min(values) > 0.05 / len(values)


def test_grades_are_balanced_at_any_count():
    for count in (10, 25, 60, 137):
        counts = np.bincount([plan.true_kl for plan in plans(count)], minlength=5)
        assert np.abs(counts - count / 5).max() <= 2


def test_grade_weights():
    counts = np.bincount([plan.true_kl for plan in plans(200, weights=(2, 0, 1, 1, 0))], minlength=5)
    assert counts[[1, 4]].tolist() == [0, 0]
    assert np.abs(counts - [100, 0, 50, 50, 0]).max() <= 3


@pytest.mark.parametrize("weights", [BALANCED, (1, 0, 0, 0, 3), (0, 0, 1, 0, 0)])
def test_severity_stays_inside_its_grade(weights):
    for quantile in (0.0, 0.25, 1 / 3, 0.2, 0.4, 0.6, 0.8, 0.999999):
        severity = severity_from_quantile(quantile, weights)
        assert 0 <= severity <= 1
        assert weights[grade_from_severity(severity)] > 0
    grid = [severity_from_quantile(q, weights) for q in np.linspace(0, 1, 501)]
    assert (np.diff(grid) >= 0).all()


def test_visits_progress_and_share_the_anatomy():
    knees = plans(20, visits=4)
    by_knee = [knees[i : i + 4] for i in range(0, len(knees), 4)]
    for visits in by_knee:
        severities = [plan.severity for plan in visits]
        assert severities == sorted(severities)
        assert max(severities) <= 1
        assert len({plan.anatomy for plan in visits}) == 1
        assert len({plan.scan for plan in visits}) == 4
    assert any(visits[0].severity < visits[-1].severity for visits in by_knee)


def test_severity_follows_the_rate_of_the_subject():
    knees = [
        plan
        for number in range(300)
        for plan in plan_subject(
            number, seed=0, knees=2, visits=3, grade_weights=BALANCED, interval=18, rate=0.1
        )
    ]
    for start in range(0, len(knees), 3):
        first, *later = knees[start : start + 3]
        for plan in later:
            expected = first.severity + first.rate * plan.month / 12
            assert plan.severity == pytest.approx(min(1.0, expected), abs=2e-6)
            assert (plan.month, plan.rate) == (18 * plan.visit, first.rate)
    rates = np.array([plan.rate for plan in knees[::6]])
    assert rates.tolist() == [plan.rate for plan in knees[3::6]], "both knees of a subject"
    assert 0.08 < rates.mean() < 0.12
    assert 0.06 < np.median(rates) < 0.085, "log 2 times the mean"
    assert abs(stats.spearmanr(rates, [plan.severity for plan in knees[::6]]).statistic) < 0.12


def test_two_knees_of_a_subject_are_alike():
    knees = plans(150, knees=2)
    first, second = knees[0::2], knees[1::2]
    assert all(a.side != b.side and a.subject == b.subject for a, b in zip(first, second, strict=True))
    assert 40 < sum(plan.side == "left" for plan in first) < 110
    sizes = np.corrcoef([p.anatomy.scale for p in first], [p.anatomy.scale for p in second])[0, 1]
    assert 0.8 < sizes < 0.99
    severities = np.corrcoef([p.severity for p in first], [p.severity for p in second])[0, 1]
    assert 0.4 < severities < 0.8


def test_random_streams_are_all_different():
    knees = plans(30, knees=2, visits=2)
    assert len({plan.reader_seed for plan in knees}) == len(knees)
    assert len({astuple(plan.scan) for plan in knees}) == len(knees)
    assert len({plan.anatomy.relief_seed for plan in knees}) == 30
