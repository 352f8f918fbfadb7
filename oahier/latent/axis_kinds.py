"""Directions of severity in a standardised latent space, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
AxisDirection = Callable[[Array, Array], Array | None]
"""From standardised embeddings ``(knees, features)`` and grades ``(knees,)``, ``MISSING`` where unknown, to a
direction ``(features,)`` of any length and sign; ``None`` where it is undefined."""

AXIS_KINDS: dict[str, AxisDirection] = {}
"""The kinds of axes that study tables compare. Add your own under a name that is not taken."""


def axis_kind(function: AxisDirection) -> AxisDirection:
    """Decorator: enter a direction into :data:`AXIS_KINDS` under the name of the function.

    Raises:
        ValueError: the name is taken.
    """
    name = function.__name__
    if name in AXIS_KINDS:
        raise ValueError(f"axis kind {name!r}: this name is taken; there are {sorted(AXIS_KINDS)}")
    AXIS_KINDS[name] = function
    return function


def named_direction(kind: str | AxisDirection) -> tuple[str, AxisDirection]:
    """Name and function of a kind of axis.

    Raises:
        ValueError: no kind has that name.
    """
    if callable(kind):
        return getattr(kind, "__name__", type(kind).__name__), kind
    if kind not in AXIS_KINDS:
        raise ValueError(f"kind: expected one of {sorted(AXIS_KINDS)} or a function, got {kind!r}")
    return kind, AXIS_KINDS[kind]


@axis_kind
def pca(standard: Array, grades: Array) -> Array | None:  # noqa: ARG001
    """First principal component of all knees (full SVD): the published recipe, arXiv:2605.00718."""
    return first_component(standard)


@axis_kind
def lda(standard: Array, grades: Array) -> Array | None:
    """First linear discriminant of the grades, Ledoit-Wolf shrinkage: more features than knees are fine."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    known, labels = _graded(standard, grades)
    if not 1 < len(np.unique(labels)) < len(labels):  # no spread within a grade: no discriminant
        return centroid(standard, grades)
    with warnings.catch_warnings():  # a grade of one knee has no spread, and adds none
        warnings.filterwarnings("ignore", message="Only one sample available")
        try:
            discriminant = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(known, labels)
        except np.linalg.LinAlgError:  # no spread within the grades in some direction
            return centroid(standard, grades)
    return np.asarray(discriminant.scalings_[:, 0])


@axis_kind
def regression(standard: Array, grades: Array) -> Array | None:
    """Ridge regression of the grade, penalty by leave-one-out error."""
    from sklearn.linear_model import RidgeCV

    known, labels = _graded(standard, grades)
    if not 1 < len(np.unique(labels)) < len(labels):
        return centroid(standard, grades)
    return np.asarray(RidgeCV(alphas=np.logspace(-2, 5, 15)).fit(known, labels.astype(float)).coef_)


@axis_kind
def centroid(standard: Array, grades: Array) -> Array | None:
    """From the mean of the lowest grade present to that of the highest."""
    known, labels = _graded(standard, grades)
    present = np.unique(labels)
    if len(present) < 2:
        return None
    return np.asarray(known[labels == present[-1]].mean(axis=0) - known[labels == present[0]].mean(axis=0))


def first_component(standard: Array) -> Array | None:
    """First principal component, unit length; ``None`` without variance."""
    from sklearn.decomposition import PCA

    if not standard.var(axis=0).sum() > 1e-12:
        return None
    return np.asarray(PCA(n_components=1, svd_solver="full").fit(standard).components_[0])


def _graded(standard: Array, grades: Array) -> tuple[Array, Array]:
    known = grades >= 0
    return standard[known], grades[known]
