"""Straightness and cosine of labels without what the scatter of knees adds in a wide space.

Both divide by a sum of squares less its scatter. Where little is left, the quotient is anything: it is
undefined unless what it is divided by is :data:`ABOVE` standard errors from zero, those that it has when the
labels are dealt to the knees at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oahier.metrics.association import varies

if TYPE_CHECKING:
    import numpy.typing as npt

ABOVE = 1.96
"""Standard errors above zero from which a denominator counts as known."""


def straightness_unbiased(standard: npt.NDArray[Any], grades: npt.NDArray[Any]) -> float:
    r"""Share of what separates the grades' centroids that lies on one line, without the scatter of knees.

    :math:`\lVert \sum_g w_g m_g \rVert^2 / \sum_g \lVert m_g - \bar m \rVert^2` with the centroids
    :math:`m_g` and weights :math:`w_g` that rise evenly with the grade (:math:`\sum w_g = 0`,
    :math:`\sum w_g^2 = 1`). A centroid of n knees scatters by its within-grade variance over n in every
    dimension, which makes every path long and crooked in a wide space; both sums are taken less what they
    would be by that scatter alone. A straight, even path has 1 in a space of any width; by chance it can be
    more, or less than 0. NaN for fewer than three grades, a grade of one knee, or where the centroids cannot
    be told from scatter (:data:`ABOVE`).
    """
    present, index, counts = np.unique(grades, return_inverse=True, return_counts=True)
    if len(present) < 3 or counts.min() < 2:
        return float("nan")
    weights = (present - present.mean()) / np.sqrt(((present - present.mean()) ** 2).sum())
    same, size, products = index[:, None] == index, counts[index], _products(standard)
    line, between = (
        of_grades[index][:, index] / (size[:, None] * (size - same))
        for of_grades in (np.outer(weights, weights), np.eye(len(present)) - 1 / len(present))
    )
    along, whole = float((line * products).sum()), float((between * products).sum())
    return along / whole if whole > max(ABOVE * _error(between, products), 0) else float("nan")


def label_cosine_unbiased(standard: npt.NDArray[Any], oa: npt.NDArray[Any], kl: npt.NDArray[Any]) -> float:
    """Cosine of the directions of OA and KL from products of different knees only.

    OA follows from KL, so that the scatter of one knee enters both directions alike: without any signal
    their cosine is that of the labels. Without the products of a knee with itself inner product and lengths
    are those of the signal. NaN where the length of a direction cannot be told from scatter (:data:`ABOVE`).
    """
    if not varies(oa) or len(np.unique(kl)) < 3:
        return float("nan")
    products = _products(standard)
    labels = np.stack([oa - oa.mean(), kl - kl.mean()])
    found = labels @ products @ labels.T
    for label, length in zip(labels, found.diagonal(), strict=True):
        if not length > max(ABOVE * _error(np.outer(label, label), products), 0):
            return float("nan")
    return float(found[0, 1] / np.sqrt(found[0, 0] * found[1, 1]))


def _products(standard: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Inner products of different knees, ``(knees, knees)``; zero of a knee with itself."""
    centred = standard - standard.mean(axis=0)
    products: npt.NDArray[Any] = centred @ centred.T
    np.fill_diagonal(products, 0)
    return products


def _error(weights: npt.NDArray[Any], products: npt.NDArray[Any]) -> float:
    """Standard error of the weighted sum of products when the labels say nothing of the knees."""
    return float(np.sqrt(2 * ((weights * products) ** 2).sum()))
