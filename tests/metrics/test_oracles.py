"""Every metric against an independent implementation, on data with ties, and where it is undefined."""

from __future__ import annotations

import math

import dlordinal.metrics
import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torchmetrics.functional.classification import multiclass_calibration_error

from oahier.metrics import binary_metrics, hierarchy_metrics, ordinal_metrics

GRADES = range(5)
FLAT = np.full((2, 5), 0.2)


def _example(seed: int, rows: int, present: tuple[int, ...] = (0, 1, 2, 3, 4), rounded: bool = True):
    """Probabilities with many ties, and labels among the given grades, each at least once."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation([*present, *generator.choice(present, rows - len(present))])
    logits = generator.normal(size=(rows, 5)) + 1.5 * np.eye(5)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if rounded:
        probabilities = generator.multinomial(10, probabilities) / 10
    return probabilities, labels.astype(np.int64)


def _undefined(values: dict[str, float]) -> set[str]:
    return {name for name, value in values.items() if math.isnan(value)}


def _reference_ordinal(p: np.ndarray, y: np.ndarray, severity: np.ndarray) -> dict[str, float]:
    predicted = p.argmax(1)
    return {
        "qwk": reference.cohen_kappa_score(y, predicted, weights="quadratic", labels=GRADES),
        "linear_kappa": reference.cohen_kappa_score(y, predicted, weights="linear", labels=GRADES),
        "accuracy": reference.accuracy_score(y, predicted),
        "accuracy_within_one": float((np.abs(predicted - y) <= 1).mean()),
        "mae": reference.mean_absolute_error(y, predicted),
        "rps": dlordinal.metrics.ranked_probability_score(y, p),
        "spearman": spearmanr(severity, y).statistic,
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rounded", [True, False])
def test_ordinal_metrics_equal_the_references(seed, rounded):
    p, y = _example(seed, rows=60, rounded=rounded)
    severity = p @ np.arange(5)
    expected = _reference_ordinal(p, y, severity)
    areas = [reference.roc_auc_score(y == grade, p[:, grade]) for grade in GRADES]
    expected["macro_auc"] = np.mean(areas)
    expected["macro_mae"] = dlordinal.metrics.amae(y, p.argmax(1))
    expected["severe_auc"] = reference.roc_auc_score(y >= 3, severity)
    expected["macro_f1"] = reference.f1_score(y, p.argmax(1), labels=GRADES, average="macro")
    single_precision = multiclass_calibration_error(torch.tensor(p), torch.tensor(y), 5, n_bins=10)

    values = ordinal_metrics(p, y, severity)

    assert values.pop("ece") == pytest.approx(float(single_precision), rel=1e-5)
    assert values == pytest.approx(expected, rel=1e-9)


def test_macro_auc_equals_scikit_learns_multiclass_form():
    p, y = _example(0, rows=60, rounded=False)
    expected = reference.roc_auc_score(y, p, multi_class="ovr", average="macro", labels=list(GRADES))
    assert ordinal_metrics(p, y)["macro_auc"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_with_a_grade_absent_the_weights_still_run_over_the_whole_scale(seed):
    """Without ``labels=range(5)`` scikit-learn would index over the grades present."""
    p, y = _example(seed, rows=30, present=(0, 2, 4))
    p = (p[:, [0, 2, 4]] + 0.1) / (p[:, [0, 2, 4]] + 0.1).sum(axis=1, keepdims=True)
    p = np.insert(p, [1, 2], 0.0, axis=1)
    severity = p @ np.arange(5)
    expected = _reference_ordinal(p, y, severity)

    values = ordinal_metrics(p, y, severity)

    assert {name: values[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    expected["macro_f1"] = reference.f1_score(y, p.argmax(1), average="macro")
    assert values["macro_f1"] == pytest.approx(expected["macro_f1"], rel=1e-9)
    assert _undefined(values) == {"macro_auc", "macro_mae"}


def test_macro_f1_counts_an_absent_grade_that_is_predicted_as_scikit_learn_does():
    y = np.array([0, 1, 2, 3, 3, 1])
    p = np.eye(5)[[0, 1, 2, 3, 4, 1]]
    expected = reference.f1_score(y, p.argmax(1), labels=GRADES, average="macro")
    assert ordinal_metrics(p, y)["macro_f1"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "predicted", "qwk"),
    [([1, 2, 1], [1, 2, 2], 0.4), ([0, 2, 4], [1, 3, 4], None)],
)
def test_published_kappa_values(labels, predicted, qwk):
    value = ordinal_metrics(np.eye(5)[predicted], np.array(labels))["qwk"]
    if qwk is None:
        qwk = reference.cohen_kappa_score(labels, predicted, weights="quadratic", labels=GRADES)
    assert value == pytest.approx(qwk)


def test_published_kappa_on_six_grades():
    p = np.eye(6)[[1, 3, 5]]
    assert ordinal_metrics(p, np.array([0, 2, 4]))["qwk"] == pytest.approx(0.8421052631578947)


def test_published_macro_mean_absolute_error():
    """dlordinal's own example, whose five predictions fall on four grades."""
    values = ordinal_metrics(np.eye(4)[[0, 1, 2, 3, 2]], np.array([0, 1, 2, 3, 3]))
    assert values["macro_mae"] == pytest.approx(0.125)


@pytest.mark.parametrize("seed", range(4))
def test_binary_metrics_equal_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    y = generator.permutation([0, 1] * 25)
    p = np.clip(0.25 + 0.4 * y + 0.3 * generator.normal(size=50), 0, 1).round(1)
    decision = (p >= 0.5).astype(int)

    values = binary_metrics(p, y)

    assert values == pytest.approx(
        {
            "auc": reference.roc_auc_score(y, p),
            "average_precision": reference.average_precision_score(y, p),
            "accuracy": reference.accuracy_score(y, decision),
            "f1": reference.f1_score(y, decision),
            "sensitivity": reference.recall_score(y, decision),
            "specificity": reference.recall_score(y, decision, pos_label=0),
            "brier": reference.brier_score_loss(y, p),
        },
        rel=1e-9,
    )


def test_published_predictions_give_the_published_agreement(shared_data):
    """The ResNet3D of arXiv:2605.00718, Dual: QWK .718, macro AUC .794, accuracy .582, macro F1 .496."""
    import pandas as pd

    path = shared_data.parent / "paper" / "resnet3d-dual-predictions.csv"
    if not path.is_file():
        pytest.skip(f"the published predictions are not at {path}")
    table = pd.read_csv(path)
    p = table[[f"prob_kl_{grade}" for grade in GRADES]].to_numpy()
    values = ordinal_metrics(p, table["label_kl"].to_numpy())
    assert (values["qwk"], values["macro_auc"]) == pytest.approx((0.718, 0.794), abs=5e-4)
    assert (values["accuracy"], values["macro_f1"]) == pytest.approx((0.582, 0.496), abs=5e-4)


def test_arrays_that_may_not_be_written_to_are_read():
    p, y = _example(0, rows=20)
    expected = ordinal_metrics(p, y)
    p.flags.writeable = y.flags.writeable = False
    assert ordinal_metrics(p, y) == expected


def test_missing_labels_are_left_out():
    p, y = _example(1, rows=40)
    holes = np.r_[p, np.full((3, 5), 0.2)], np.r_[y, [-1, -1, -1]]
    assert ordinal_metrics(*holes) == pytest.approx(ordinal_metrics(p, y), nan_ok=True)
    oa, holey = (y >= 2).astype(int), np.r_[(y >= 2).astype(int), [-1, -1, -1]]
    assert binary_metrics(holes[0][:, 4], holey) == pytest.approx(binary_metrics(p[:, 4], oa))


def test_without_labelled_rows_or_with_a_diverged_model_everything_is_nan():
    p, y = _example(2, rows=40)
    p[7, 3] = math.nan
    for values in (
        ordinal_metrics(p, y),
        ordinal_metrics(p[:4], np.full(4, -1)),
        ordinal_metrics(p[:0], y[:0]),
        binary_metrics(p[:, 3], (y > 1).astype(int)),
        binary_metrics(p[:0, 1], y[:0]),
        hierarchy_metrics(p[:, 3], p),
        hierarchy_metrics(p[:0, 3], p[:0]),
    ):
        assert values
        assert all(math.isnan(value) for value in values.values())


def test_what_is_undefined_when_one_class_is_absent():
    only_positive = binary_metrics(np.array([0.9, 0.2]), np.array([1, 1]))
    assert _undefined(only_positive) == {"auc", "average_precision", "specificity"}
    only_negative = binary_metrics(np.array([0.3, 0.2]), np.array([0, 0]))
    assert _undefined(only_negative) == {"auc", "average_precision", "sensitivity", "f1"}
    constant = ordinal_metrics(np.tile([0.1, 0.1, 0.6, 0.1, 0.1], (3, 1)), np.array([2, 2, 2]))
    assert _undefined(constant) == {"qwk", "linear_kappa", "macro_auc", "macro_mae", "spearman", "severe_auc"}
    assert constant["macro_f1"] == 1


def test_agreement_of_the_levels():
    grades = np.array([[0.1, 0.2, 0.6, 0.1, 0.0], [0.1, 0.5, 0.2, 0.1, 0.1], [0.9, 0.1, 0, 0, 0]])
    values = hierarchy_metrics(np.array([0.7, 0.4, 0.5]), grades)
    assert values == pytest.approx({"agreement": 2 / 3, "probability_gap": (0.0 + 0.0 + 0.5) / 3})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ordinal_metrics(FLAT, np.array([0, 5])), r"labels: expected classes 0 to 4, got \[5\]"),
        (lambda: ordinal_metrics(FLAT, np.array([0])), r"labels: expected shape \(2,\)"),
        (lambda: ordinal_metrics(FLAT[:, 0], np.array([0, 1])), r"probabilities: expected shape \(rows, gr"),
        (lambda: binary_metrics(FLAT[:, 0], np.array([0, 2])), r"labels: expected classes 0 to 1, got \[2\]"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


_tables = st.integers(0, 2**32 - 1).map(
    lambda seed: _example(seed, rows=int(np.random.default_rng(seed).integers(5, 40)))
)


@settings(max_examples=30, deadline=None)
@given(_tables, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(table, random):
    p, y = table
    order = random.sample(range(len(y)), len(y))
    assert ordinal_metrics(p[order], y[order]) == pytest.approx(ordinal_metrics(p, y), nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(_tables)
def test_bounds_and_order_of_the_measures(table):
    p, y = table
    values = ordinal_metrics(p, y)
    assert -1 - 1e-9 <= values["qwk"] <= 1
    assert values["accuracy"] <= values["accuracy_within_one"] <= 1
    assert 0 <= values["mae"] <= 4
    assert 0 <= values["macro_auc"] <= 1
    assert 0 <= values["ece"] <= 1


@settings(max_examples=30, deadline=None)
@given(_tables)
def test_turning_the_scale_round_changes_nothing_but_the_ties(table):
    p, y = table
    p = p + np.random.default_rng(0).uniform(0, 1e-6, p.shape)
    p /= p.sum(1, keepdims=True)
    turned = ordinal_metrics(p[:, ::-1], 4 - y)
    values = ordinal_metrics(p, y)
    for name in ("qwk", "linear_kappa", "mae", "macro_mae", "macro_auc", "macro_f1", "spearman"):
        assert turned[name] == pytest.approx(values[name], abs=1e-6, nan_ok=True), name


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=30))
def test_the_truth_scores_perfectly(grades):
    y = np.array(grades)
    values = ordinal_metrics(np.eye(5)[y], y)
    assert (values["accuracy"], values["mae"], values["rps"], values["ece"]) == (1, 0, 0, 0)
    if len(set(grades)) > 1:
        assert values["qwk"] == pytest.approx(1)
        assert values["spearman"] == pytest.approx(1)
    else:
        assert math.isnan(values["qwk"])
