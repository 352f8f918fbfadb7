"""Similarity of two embeddings of the same knees (centred kernel alignment)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

Array = npt.NDArray[Any]


def linear_cka(x: Float[np.ndarray, "knees features"], y: Float[np.ndarray, "others features_y"]) -> float:
    r"""Debiased linear CKA: 1 for embeddings that are rotations of each other, about 0 for unrelated ones.

    :math:`\mathrm{HSIC}(K, L) / \sqrt{\mathrm{HSIC}(K, K)\, \mathrm{HSIC}(L, L)}` of the inner products
    :math:`K = X X^T`, :math:`L = Y Y^T` (Kornblith et al. 2019, arXiv:1905.00414) with the unbiased estimator
    of HSIC (Song et al. 2012, JMLR 13:1393), because the usual one tends to 1 for embeddings wider than the
    number of knees, whatever they hold (Murphy et al. 2024, arXiv:2405.01012). It can be negative. It does
    not change with rotation, shift and one scale of all features, and does with the scale of single features.

    Args:
        x: embeddings of knees by one model.
        y: those of the same knees by another, of any width.

    Returns:
        NaN for fewer than four knees, or where an embedding holds nothing but noise.

    Raises:
        ValueError: numbers of knees that differ.

    >>> x = np.random.default_rng(0).normal(size=(30, 200))
    >>> round(linear_cka(x, -3 * x[:, ::-1] + 1), 6), abs(linear_cka(x, np.roll(x, 1, axis=0))) < 0.2
    (1.0, True)
    """
    if len(x) != len(y):
        raise ValueError(f"x and y: expected embeddings of the same knees, got {len(x)} and {len(y)}")
    return cka_of_products(inner_products(x), inner_products(y))


def inner_products(x: Float[np.ndarray, "knees features"]) -> Array:
    """``(knees, knees)`` inner products of centred embeddings, zero of a knee with itself."""
    centred = np.asarray(x, dtype=np.float64) - np.mean(x, axis=0, dtype=np.float64)
    products: Array = centred @ centred.T
    np.fill_diagonal(products, 0)
    return products


def cka_of_products(k: Array, l: Array) -> float:  # noqa: E741
    """CKA of two tables of :func:`inner_products`, or of the same rows and columns of both."""
    if len(k) < 4:
        return float("nan")
    shared, one, other = _hsic(k, l), _hsic(k, k), _hsic(l, l)
    return shared / float(np.sqrt(one * other)) if one > 0 and other > 0 else float("nan")


def _hsic(k: Array, l: Array) -> float:  # noqa: E741
    n = len(k)
    rows, others = k.sum(axis=1), l.sum(axis=1)
    found = (k * l).sum() + rows.sum() * others.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows @ others
    return float(found / (n * (n - 3)))
