"""Calibrators, threshold rules and their serial form."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from oahier.clinical import Decisions, FixedSpecificity, Isotonic, MostAccurate, Temperature, Youden
from oahier.metrics import Rows
from oahier.statistics import parse_predictions
from tests.made_predictions import columns


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("true", [0.5, 3.0])
def test_temperature_is_found_again(classes, true):
    """Logits that were scaled up by T get T back: likelihood of the labels that softmax(z) drew."""
    generator = np.random.default_rng(classes)
    logits = generator.normal(0, 1.5, (20_000, classes))
    labels = (softmax(logits).cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1)
    fitted = Temperature().fit(softmax(logits * true), labels)
    assert fitted.temperature == pytest.approx(true, rel=0.05)
    np.testing.assert_allclose(Temperature(true).apply(softmax(logits * true)), softmax(logits), atol=1e-9)


def test_temperature_minimises_the_likelihood():
    table = parse_predictions(columns(60, noise=2.0))
    p, y = table.heads["kl"].probabilities, table.labels["kl"]
    best = Temperature().fit(p, y).temperature
    losses = {
        t: -np.log(Temperature(t).apply(p)[np.arange(len(y)), y]).mean()
        for t in (best, best * 1.01, best / 1.01)
    }
    assert min(losses, key=losses.get) == best


def test_separable_labels_have_the_smallest_temperature():
    p = np.array([[0.9, 0.1], [0.2, 0.8]] * 5)
    assert Temperature().fit(p, p.argmax(axis=1)).temperature == pytest.approx(0.05, rel=1e-3)


def test_isotonic_is_that_of_scikit_learn():
    p, y = np.random.default_rng(0).random(50), np.random.default_rng(1).integers(0, 2, 50)
    new = np.linspace(0, 1, 21)
    oracle = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, y).predict(new)
    fitted = Isotonic().fit(np.stack([1 - p, p], axis=1), y)
    np.testing.assert_allclose(fitted.apply(np.stack([1 - new, new], axis=1))[:, 1], oracle, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_calibrated_probabilities_are_probabilities(seed, classes):
    generator = np.random.default_rng(seed)
    p, y = generator.dirichlet(np.ones(classes), 30), generator.integers(0, classes, 30)
    for kind in (Temperature(), Isotonic()):
        q = kind.fit(p, y).apply(p)
        np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-9)
        assert q.min() >= -1e-12


def test_rules_agree_with_a_search_over_all_thresholds():
    generator = np.random.default_rng(3)
    scores, positive = generator.random(40).round(2), generator.random(40) < 0.3
    for rule, value in (
        (Youden(), lambda d: d[positive].mean() - d[~positive].mean()),
        (MostAccurate(), lambda d: (d == positive).mean()),
    ):
        best = max(value(scores >= t) for t in np.linspace(-0.005, 1.005, 102))
        assert value(scores >= rule.choose(scores, positive)) == pytest.approx(best)
    at = FixedSpecificity(0.9).choose(scores, positive)
    assert (scores[~positive] < at).mean() >= 0.9
    assert np.isnan(Youden().choose(scores, np.ones(40, bool)))


def fitted(calibrator=None):
    validation = parse_predictions(columns(60, seed=1) | {"subject": [f"v{i}" for i in range(60)]}, "val.csv")
    rows = {
        name: Rows.of(head.probabilities, validation.labels[name], subject=validation.subject)
        for name, head in validation.heads.items()
    }
    return validation, Decisions.fit(rows, calibrator=calibrator)


@pytest.mark.parametrize("calibrator", [Temperature(), Isotonic()])
def test_serial_form_comes_back(tmp_path, calibrator):
    _, decisions = fitted(calibrator)
    again = Decisions.read(decisions.write(tmp_path / "decisions.json"))
    assert json.loads((tmp_path / "decisions.json").read_text()) == again.to_dict() == decisions.to_dict()
    test = parse_predictions(columns(50, seed=2), "test.csv")
    one, other = decisions.apply(test), again.apply(test)
    for name, head in one.heads.items():
        np.testing.assert_array_equal(head.probabilities, other.heads[name].probabilities)
        np.testing.assert_array_equal(head.predicted, other.heads[name].predicted)
    oa, rule = one.heads["oa"], decisions.heads["oa"]
    np.testing.assert_array_equal(oa.predicted, oa.probabilities[:, 1] >= rule.threshold)
    np.testing.assert_allclose(one.heads["kl"].severity, one.heads["kl"].probabilities @ np.arange(5))


def test_subjects_that_were_fitted_are_refused():
    validation, decisions = fitted()
    with pytest.raises(ValueError, match=r"val.csv: calibration and thresholds were fitted on 60 of its 60"):
        decisions.apply(validation)
    assert all("v1" not in digest for digest in decisions.subjects), "names are not kept"


def test_one_class_is_left_with_a_note():
    rows = {"oa": Rows.of([0.2, 0.4], [1, 1]), "kl": Rows.of(np.full((2, 5), np.nan), [0, 1])}
    decisions = Decisions.fit(rows)
    assert decisions.heads["oa"].calibrator is None
    assert decisions.heads["oa"].threshold == 0.5
    assert "labels of one class only" in decisions.describe()[0]
    assert "no knee with a label" in decisions.describe()[1]
    few, some = (Rows.of(np.linspace(0.1, 0.9, knees), np.arange(knees) % 2) for knees in (9, 30))
    few, some = Decisions.fit({"oa": few}), Decisions.fit({"oa": some})
    assert few.heads["oa"].calibrator is None
    said = few.describe()[0]
    assert "probabilities as they are, nothing fitted on 9 knees; too few knees, 10 are needed" in said
    assert "fitted on 30 knees; few knees: expect other values on others" in some.describe()[0]


def test_something_else_is_refused(tmp_path):
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no.json: expected decisions as oahier writes them"):
        Decisions.read(tmp_path / "no.json")
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(ValueError, match=r"no.json: expected decisions as JSON"):
        Decisions.read(tmp_path / "no.json")
    _, decisions = fitted()
    with pytest.raises(ValueError, match="expected a head of the calibration"):
        decisions.apply(parse_predictions({"knee": ["a"], "label_x": [0], "prob_x": [0.2]}))
