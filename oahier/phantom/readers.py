"""Disagreement of readers: rows are the true KL grade, columns the grade that is written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float64

from oahier.hierarchy import OA_FROM_GRADE
from oahier.types import KL_GRADES

ReaderNoise: TypeAlias = Literal["block", "none"] | Sequence[Sequence[float]]
"""``"block"``, ``"none"`` or a 5 x 5 matrix whose rows sum to 1."""

BLOCK_NOISE = (
    (0.80, 0.20, 0.00, 0.00, 0.00),
    (0.25, 0.75, 0.00, 0.00, 0.00),
    (0.00, 0.00, 0.76, 0.22, 0.02),
    (0.00, 0.00, 0.14, 0.74, 0.12),
    (0.00, 0.00, 0.02, 0.18, 0.80),
)
"""Readers agree on OA or not and err inside {0, 1} and {2, 3, 4}; 77 % exact agreement on balanced grades.

The readers of the Osteoarthritis Initiative had to agree on KL < 2 or >= 2, not on the exact grade, on which
independent readers agree in 55-85 % of knees (arXiv:2605.00718).
"""


def reader_matrix(noise: ReaderNoise = "block") -> Float64[np.ndarray, "true observed"]:
    """Confusion matrix of a reader, checked.

    Raises:
        ValueError: an unknown name, another shape than 5 x 5, negative entries, or rows that do not sum to 1.

    >>> reader_matrix("none").diagonal().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if isinstance(noise, str):
        named = {"block": BLOCK_NOISE, "none": np.eye(KL_GRADES)}
        if noise not in named:
            raise ValueError(f"reader_noise: expected 'block', 'none' or a 5 x 5 matrix, got {noise!r}")
        return np.asarray(named[noise], dtype=np.float64)
    try:
        matrix = np.asarray(noise, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"reader_noise: expected a {KL_GRADES} x {KL_GRADES} matrix of numbers, got {noise!r}"
        ) from error
    if matrix.shape != (KL_GRADES, KL_GRADES):
        raise ValueError(
            f"reader_noise: expected a {KL_GRADES} x {KL_GRADES} matrix, got shape {matrix.shape}"
        )
    if not (matrix >= 0).all() or not np.allclose(matrix.sum(axis=1), 1, atol=1e-6):
        raise ValueError(
            "reader_noise: expected rows of probabilities (true grade by observed grade) that sum to 1, "
            f"got row sums {matrix.sum(axis=1).round(4).tolist()} and a smallest entry of {matrix.min():g}"
        )
    return matrix


def crosses_oa(matrix: Float64[np.ndarray, "true observed"]) -> bool:
    """True if a reader may put a knee on the wrong side of the OA threshold.

    >>> crosses_oa(reader_matrix("block"))
    False
    """
    without, with_oa = slice(0, OA_FROM_GRADE), slice(OA_FROM_GRADE, None)
    return bool(matrix[without, with_oa].any() or matrix[with_oa, without].any())


def read_grade(
    true_grade: int, matrix: Float64[np.ndarray, "true observed"], generator: np.random.Generator
) -> int:
    """Grade that a reader writes down; takes one number from the generator.

    >>> read_grade(3, reader_matrix("none"), np.random.default_rng(0))
    3
    """
    cumulative = matrix[true_grade].cumsum()
    return int(np.searchsorted(cumulative / cumulative[-1], generator.random(), side="right"))
