"""Doubt about training labels, from predictions that were made without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from oahier.noise.matrices import same_block

Severities = Float64[np.ndarray, " knees"]
Labels = Int64[np.ndarray, " knees"]


@dataclass(frozen=True, eq=False)
class Doubt:
    """How doubtful each label is, and what the truth may be instead."""

    posterior: Float64[np.ndarray, "knees classes"]
    """P(truth | severity, label)."""
    doubt: Float64[np.ndarray, " knees"]
    """P(truth is not the label)."""
    matrix: Float64[np.ndarray, "true read"]
    """The reader that was estimated."""


def label_doubt(
    severity: Severities,
    labels: Labels,
    num_classes: int,
    *,
    blocks: Sequence[int] | None = None,
    subjects: Shaped[np.ndarray, " knees"] | None = None,
    folds: int = 5,
    smoothing: float = 20.0,
    seed: int = 0,
) -> Doubt:
    r"""Probability that a label is not the true class, given an out-of-fold severity.

    Ordinal: a knee is known by one number, its expected grade, which is normal around a mean of each class
    with one common variance; both are estimated from the other folds' knees. Block-aware: only classes in the
    block of the label are possible. With :math:`q_i \propto P(i \mid \mathrm{severity})` a reader matrix T is
    estimated by expectation-maximisation, from a start of 80 % agreement that counts as ``smoothing``
    readings of each class; the doubt is :math:`1 - q_y T_{yy} / \sum_i q_i T_{iy}`.

    Args:
        severity: of models that were not trained on the knee.
        labels: one for every knee.
        num_classes: of the level.
        blocks: block of each class that readers never leave.
        subjects: who the knees belong to; no subject is in two folds.
        folds: groups of knees whose means and variance are estimated from the others.
        smoothing: pseudo-readings of each class.
        seed: of the folds.

    Raises:
        ValueError: numbers that are not finite, labels outside the classes, or fewer subjects than folds.
    """
    _check(severity, labels, num_classes, folds)
    inside = same_block(blocks, num_classes)
    likely = _likelihoods(severity, labels, num_classes, subjects, folds, seed)
    likely = likely * inside[labels]
    start = np.where(np.eye(num_classes, dtype=bool), 0.8, 0.2 * inside / np.maximum(inside.sum(1) - 1, 1))
    start /= start.sum(axis=1, keepdims=True)
    matrix = start
    for _ in range(500):
        joint = likely * matrix[:, labels].T
        joint /= joint.sum(axis=1, keepdims=True)
        counts = smoothing * start
        np.add.at(counts.T, labels, joint)
        new = counts / counts.sum(axis=1, keepdims=True)
        change, matrix = np.abs(new - matrix).max(), new
        if change < 1e-7:
            break
    return Doubt(joint, 1 - joint[np.arange(len(labels)), labels], matrix)


def _likelihoods(
    severity: Severities, labels: Labels, num_classes: int, subjects: np.ndarray | None, folds: int, seed: int
) -> np.ndarray:
    """Frequency times density of each class at the severity of a knee, from the knees of other folds."""
    made = np.zeros((len(labels), num_classes))
    for rest, held in _splits(labels, subjects, folds, seed):
        found = [severity[rest][labels[rest] == grade] for grade in range(num_classes)]
        means = np.array([values.mean() if len(values) else grade for grade, values in enumerate(found)])
        spread = max(float(np.sqrt(np.mean((severity[rest] - means[labels[rest]]) ** 2))), 1e-6)
        frequency = np.array([len(values) + 1 for values in found]) / (len(rest) + num_classes)
        squares = ((severity[held][:, None] - means) / spread) ** 2
        near = squares.min(axis=1, keepdims=True)
        made[held] = frequency * np.exp(np.maximum(-(squares - near) / 2, -100))
    return made


def _splits(
    labels: Labels, subjects: np.ndarray | None, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Knees of the other folds and of each fold; labels have no part in it."""
    _, subject = np.unique(np.arange(len(labels)) if subjects is None else subjects, return_inverse=True)
    people = int(subject.max()) + 1
    if people < folds:
        raise ValueError(f"doubt: expected at least {folds} subjects, one a fold, got {people}")
    fold = (np.random.default_rng(seed).permutation(people) % folds)[subject.ravel()]
    return [(np.flatnonzero(fold != held), np.flatnonzero(fold == held)) for held in range(folds)]


def _check(severity: np.ndarray, labels: Labels, num_classes: int, folds: int) -> None:
    if not np.isfinite(severity).all():
        raise ValueError("doubt: expected a finite severity for every knee; leave out knees without one")
    if len(labels) < folds or labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"doubt: expected at least {folds} knees with labels 0..{num_classes - 1}, got {len(labels)} "
            f"with {np.unique(labels).tolist()}"
        )


def out_of_fold_severity(
    embeddings: Float64[np.ndarray, "knees features"],
    labels: Labels,
    *,
    subjects: Shaped[np.ndarray, " knees"] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Severities:
    """Severity of each knee by ridge regression of the grade on embeddings of other folds' knees.

    The embeddings must come from an encoder that was not supervised by these labels; one that was remembers
    them.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _check(embeddings, labels, int(labels.max()) + 1, folds)
    made = np.zeros(len(labels))
    for rest, held in _splits(labels, subjects, folds, seed):
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))
        made[held] = model.fit(embeddings[rest], labels[rest].astype(float)).predict(embeddings[held])
    return made


def nominal_doubt(
    probabilities: Float64[np.ndarray, "knees classes"], labels: Labels, *, margin: bool = False
) -> Float64[np.ndarray, " knees"]:
    """Doubt that knows neither order nor blocks: ``1 - p_y``, or with the largest other probability.

    One minus cleanlab's ``self_confidence`` and ``normalized_margin`` (Northcutt et al. 2021,
    arXiv:1911.00068), to compare with.

    >>> nominal_doubt(np.array([[0.7, 0.2, 0.1]]), np.array([1]), margin=True).round(3).tolist()
    [0.75]
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    if not margin:
        return np.asarray(1 - own)
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    return np.asarray(1 - (own - others.max(axis=1) + 1) / 2)
