"""Label doubt: cleanlab's scores as oracle of the nominal one, and found errors under block noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from oahier.noise import ADJUDICATED_BLOCKS, label_doubt, nominal_doubt, out_of_fold_severity
from oahier.phantom.readers import BLOCK_NOISE

# cleanlab 2.9.0: rank.get_label_quality_scores(y, p, method=...) of
# p = np.random.default_rng(0).dirichlet([1.0] * 5, 6); y = [0, 1, 2, 3, 4, 2]
SELF_CONFIDENCE = [0.29927267, 0.05644535, 0.33873613, 0.04991906, 0.46777681, 0.38887885]
NORMALIZED_MARGIN = [0.42524802, 0.27440686, 0.42406495, 0.26896023, 0.59522559, 0.51332019]


def test_nominal_doubt_is_that_of_cleanlab():
    p, y = np.random.default_rng(0).dirichlet([1.0] * 5, 6), np.array([0, 1, 2, 3, 4, 2])
    before = p.copy()
    np.testing.assert_allclose(1 - nominal_doubt(p, y), SELF_CONFIDENCE, atol=1e-6)
    np.testing.assert_allclose(1 - nominal_doubt(p, y, margin=True), NORMALIZED_MARGIN, atol=1e-6)
    np.testing.assert_array_equal(p, before)


def auc(found, scores):
    ranks = rankdata(scores)
    return (ranks[found].sum() - found.sum() * (found.sum() + 1) / 2) / (found.sum() * (~found).sum())


def cohort(seed, knees=400, spread=0.7):
    """Embeddings along one direction of severity, and labels of a reader with block noise."""
    rng = np.random.default_rng(seed)
    severity = rng.uniform(0, 5, knees)
    truth = severity.astype(int)
    labels = np.array([rng.choice(5, p=np.array(BLOCK_NOISE)[grade]) for grade in truth])
    direction = rng.normal(size=16)
    embeddings = (severity[:, None] - 2.5) * direction * 0.3 + rng.normal(size=(knees, 16)) * spread
    return embeddings, truth, labels


def test_errors_are_found_that_nominal_doubt_misses():
    gains = []
    for seed in range(5):
        embeddings, truth, labels = cohort(seed)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        p = cross_val_predict(model, embeddings, labels, cv=5, method="predict_proba")
        doubt = label_doubt(p @ np.arange(5), labels, 5, blocks=ADJUDICATED_BLOCKS)
        nominal = max(
            auc(truth != labels, nominal_doubt(p, labels, margin=margin)) for margin in (False, True)
        )
        gains.append(auc(truth != labels, doubt.doubt) - nominal)
    assert min(gains) > 0.0
    assert np.mean(gains) >= 0.05


def test_doubt_stays_in_the_block_and_is_a_probability():
    embeddings, truth, labels = cohort(0)
    severity = out_of_fold_severity(embeddings, labels)
    doubt = label_doubt(severity, labels, 5, blocks=ADJUDICATED_BLOCKS)
    np.testing.assert_allclose(doubt.posterior.sum(axis=1), 1.0)
    blocks = np.array(ADJUDICATED_BLOCKS)
    assert not doubt.posterior[blocks[labels][:, None] != blocks[None, :]].any()
    assert ((doubt.doubt >= 0) & (doubt.doubt <= 1)).all()
    np.testing.assert_allclose(doubt.matrix.sum(axis=1), 1.0)
    wrong = truth != labels
    assert abs(doubt.doubt.mean() - wrong.mean()) < 0.1
    suggested = doubt.posterior.argmax(axis=1)
    assert (suggested == truth).mean() >= (labels == truth).mean()
    assert label_doubt(severity, labels, 5).posterior[blocks[labels][:, None] != blocks[None, :]].any()


def test_a_knee_is_judged_without_its_own_label():
    """The same label far from its grade's severity is doubtful, and no subject is on both sides."""
    embeddings, _, labels = cohort(1, knees=200)
    subjects = np.arange(200) // 2
    severity = out_of_fold_severity(embeddings, labels, subjects=subjects)
    shuffled = labels.copy()
    shuffled[:2] = 4 - shuffled[:2]
    moved = out_of_fold_severity(embeddings, shuffled, subjects=subjects)
    np.testing.assert_allclose(moved[:2], severity[:2])
    assert not np.allclose(moved, severity)


def test_rare_and_absent_classes_are_finite():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 30 + [1] * 29 + [3])
    doubt = label_doubt(labels + rng.normal(size=60), labels, 5, blocks=ADJUDICATED_BLOCKS)
    assert np.isfinite(doubt.doubt).all()
    assert np.isfinite(label_doubt(np.zeros(60), labels, 5).doubt).all()


@pytest.mark.parametrize(
    ("severity", "labels", "message"),
    [
        ([0.0, np.nan, 1.0, 2.0, 3.0], [0, 1, 1, 2, 3], "expected a finite severity"),
        ([0.0, 1.0], [0, 1], "expected at least 5 knees with labels 0..4, got 2"),
        ([0.0] * 5, [0, 1, 2, 3, 5], r"with \[0, 1, 2, 3, 5\]"),
        ([0.0] * 5, [0, 1, 2, 3, -1], r"with \[-1, 0, 1, 2, 3\]"),
    ],
)
def test_bad_input_is_named(severity, labels, message):
    with pytest.raises(ValueError, match=message):
        label_doubt(np.array(severity), np.array(labels), 5)


def test_fewer_subjects_than_folds_are_refused():
    with pytest.raises(ValueError, match="expected at least 5 subjects, one a fold, got 3"):
        label_doubt(np.zeros(9), np.arange(9) % 5, 5, subjects=np.arange(9) // 3)
