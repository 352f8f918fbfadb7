"""Reader matrices: rows are the true class, columns the class that is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE

Matrix = Float64[np.ndarray, "true read"]

ADJUDICATED_BLOCKS = DEFAULT_HIERARCHY.parents(FINE, COARSE)
"""The coarse class of every grade: {0, 1} and {2, 3, 4}. Readers of the Osteoarthritis Initiative had to
agree on it, not on the grade."""


def checked_matrix(
    matrix: Sequence[Sequence[float]], num_classes: int | None = None, blocks: Sequence[int] | None = None
) -> Matrix:
    """A reader matrix ``T[i, j] = P(reads j | truth i)`` as an array.

    Args:
        matrix: one row a true class.
        num_classes: classes that it should have.
        blocks: block of each class, where the reader never leaves the block of the truth.

    Raises:
        ValueError: no square matrix of probabilities whose rows sum to one, another size, a class that is
            never read, or a reading outside the block of the truth.

    >>> checked_matrix([[0.9, 0.1], [0.2, 0.8]]).sum(axis=1).tolist()
    [1.0, 1.0]
    """
    try:
        made = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"reader matrix: expected rows of numbers of one length, got {matrix!r}") from error
    size = len(made) if num_classes is None else num_classes
    if made.shape != (size, size) or not size:
        raise ValueError(
            f"reader matrix: expected {size} x {size} numbers, a row and a column for each class, got shape "
            f"{made.shape}; make it of the classes that the head has"
        )
    if not (made >= 0).all() or not np.allclose(made.sum(axis=1), 1, atol=1e-6):
        raise ValueError(
            "reader matrix: expected rows (true class) of probabilities of what is read, each summing to 1, "
            f"got row sums {made.sum(axis=1).round(4).tolist()} and a smallest entry of {made.min():g}; "
            "divide counts by the sum of their row"
        )
    never = np.flatnonzero(made.sum(axis=0) == 0)
    if len(never):
        raise ValueError(
            f"reader matrix: class {never[0]} is read for no true class, so that a label {never[0]} would be "
            "impossible; give it a small probability in its row"
        )
    if blocks is not None:
        inside = same_block(blocks, size)
        if made[~inside].any():
            true, read = np.argwhere((made > 0) & ~inside)[0]
            raise ValueError(
                f"reader matrix: P(reads {read} | truth {true}) is {made[true, read]:g}, but the blocks "
                f"{list(blocks)} keep readings in the block of the truth; set it to 0 or leave the blocks out"
            )
    return made


def same_block(blocks: Sequence[int] | None, num_classes: int) -> np.ndarray:
    """True ``(classes, classes)`` where two classes share a block; everywhere without blocks.

    Raises:
        ValueError: not one block a class.

    >>> same_block([0, 0, 1], 3).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    found = np.zeros(num_classes) if blocks is None else np.asarray(blocks)
    if found.shape != (num_classes,):
        raise ValueError(
            f"blocks: expected the block of each of {num_classes} classes, got {list(found)}; "
            f"for grades {list(ADJUDICATED_BLOCKS)}"
        )
    return np.asarray(found[:, None] == found[None, :])
