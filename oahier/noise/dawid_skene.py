"""Reader matrices and posterior truth from several readings of the same knees (Dawid and Skene)."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from oahier.metrics.weighted import weighted_mean, weighted_qwk
from oahier.noise.matrices import same_block
from oahier.noise.patterns import Patterns, patterns_of
from oahier.types import MISSING

_LEVELS = (2.5, 97.5)


@dataclass(frozen=True, eq=False)
class ReaderEstimate:
    """What several readings say about the truth and about the readers."""

    posterior: Float64[np.ndarray, "knees classes"]
    """P(truth | readings) of each knee; the prior where it has no reading."""
    matrices: Float64[np.ndarray, "readers true read"]
    matrix_intervals: Float64[np.ndarray, "2 readers true read"]
    prior: Float64[np.ndarray, " classes"]
    agreement: Float64[np.ndarray, "readers readers 2"]
    """Exact agreement and weighted kappa of each two readers."""
    agreement_intervals: Float64[np.ndarray, "2 readers readers 2"]
    identified: bool
    """False where the readings have fewer free frequencies than the readers have numbers: what is estimated
    then depends on the smoothing, and no interval says by how much."""


def dawid_skene(
    readings: Int64[np.ndarray, "knees readers"],
    num_classes: int,
    *,
    blocks: Sequence[int] | None = None,
    truth: Int64[np.ndarray, " knees"] | None = None,
    fit: Bool[np.ndarray, " knees"] | None = None,
    subjects: Shaped[np.ndarray, " knees"] | None = None,
    smoothing: float = 1.0,
    resamples: int = 200,
    seed: int = 0,
) -> ReaderEstimate:
    r"""Estimate a matrix for each reader, :math:`T_r[i, j] = P(r\ \mathrm{reads}\ j \mid \mathrm{truth}\ i)`.

    Expectation-maximisation of :math:`\prod_n \sum_i \pi_i \prod_r T_r[i, y_{nr}]` (Dawid & Skene 1979,
    doi:10.2307/2346806). Ordinal: each true class is given ``smoothing`` pseudo-readings that fall off as
    :math:`e^{-2|i - j|}`, which also says that readers are more often right than wrong.

    Args:
        readings: classes, ``MISSING`` where a reader has none.
        num_classes: of the level.
        blocks: block of each class that readers never leave.
        truth: of knees where it is known (anchors), else ``MISSING``.
        fit: knees that matrices are estimated from, those of the training split for example; posteriors are
            given for all.
        subjects: who the knees belong to, for the intervals; each knee its own when not given.
        smoothing: pseudo-readings of each true class.
        resamples: of the bootstrap over subjects, percentile intervals of 95 %.
        seed: of the bootstrap.

    Raises:
        ValueError: fewer than two readings and no truth, no knee with both, or readings in different blocks.

    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, 3000)
    >>> read = np.where(rng.random((3000, 3)) < 0.8, truth[:, None], 1 - truth[:, None])
    >>> dawid_skene(read, 2, resamples=20).matrices.round(1).tolist()[0]
    [[0.8, 0.2], [0.2, 0.8]]
    """
    knees, readers = readings.shape
    anchors = np.full(knees, MISSING) if truth is None else truth
    used = np.ones(knees, dtype=bool) if fit is None else fit
    known = np.column_stack([readings, anchors])[used] != MISSING
    if not (known.sum(axis=1) >= 2).any():
        raise ValueError(
            "readings: expected knees with two readings, or with a reading and a known truth, got none; "
            "name a second column of readings or one of the truth"
        )
    found = patterns_of(readings, anchors, num_classes, blocks)
    _, subject = np.unique(np.arange(knees) if subjects is None else subjects, return_inverse=True)
    people = int(subject.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=resamples)
    weights = found.weights(np.vstack([np.ones(knees), drawn[:, subject.ravel()]]) * used)
    matrices, prior = _estimate(found, weights, num_classes, blocks, smoothing)
    agreement = _agreement(found, weights)
    with warnings.catch_warnings():  # two readers of one and the same grade have no kappa in any resample
        warnings.filterwarnings("ignore", message="All-NaN slice", category=RuntimeWarning)
        agreement_intervals = np.nanpercentile(agreement[1:], _LEVELS, axis=0)
    return ReaderEstimate(
        posterior=_posterior(found, matrices[:1], prior[:1])[0][found.pattern],
        matrices=matrices[0],
        matrix_intervals=np.percentile(matrices[1:], _LEVELS, axis=0),
        prior=prior[0],
        agreement=agreement[0],
        agreement_intervals=agreement_intervals,
        identified=_identified(readers, num_classes, blocks, anchors[used]),
    )


def _estimate(
    found: Patterns, weights: np.ndarray, num_classes: int, blocks: Sequence[int] | None, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Matrices ``(resamples, readers, true, read)`` and prior ``(resamples, classes)``."""
    grades = np.arange(num_classes)
    near = np.exp(-2.0 * np.abs(grades[:, None] - grades[None, :])) * same_block(blocks, num_classes)
    start = near / near.sum(axis=1, keepdims=True)
    count = found.readings.shape[1]
    matrices = np.tile(start, (len(weights), count, 1, 1))
    prior = np.full((len(weights), num_classes), 1 / num_classes)
    reads = (found.readings[:, :, None] == grades).astype(float)
    for _ in range(1000):
        joint = _posterior(found, matrices, prior) * weights[:, :, None]
        counts = np.einsum("bpi,prj->brij", joint, reads) + smoothing * start
        new = counts / counts.sum(axis=-1, keepdims=True)
        prior = joint.sum(axis=1) + 1e-9
        prior /= prior.sum(axis=1, keepdims=True)
        change, matrices = np.abs(new - matrices).max(), new
        if change < 1e-6:
            break
    return matrices, prior


def _posterior(found: Patterns, matrices: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """P(truth | readings) ``(resamples, patterns, classes)``."""
    joint = prior[:, None, :] * found.possible
    for reader, column in enumerate(found.readings.T):
        said = matrices[:, reader][:, :, column.clip(min=0)].transpose(0, 2, 1)
        joint = joint * np.where((column == MISSING)[None, :, None], 1.0, said)
    total = joint.sum(axis=-1, keepdims=True)
    without = np.tile(prior[:, None, :], (1, joint.shape[1], 1))
    return np.asarray(np.divide(joint, total, out=without, where=total > 0))


def _agreement(found: Patterns, weights: np.ndarray) -> np.ndarray:
    """Share of equal readings and quadratic weighted kappa of each two readers, ``(resamples, a, b, 2)``."""
    count = found.readings.shape[1]
    made = np.full((len(weights), count, count, 2), np.nan)
    for a, b in itertools.product(range(count), repeat=2):
        both = (found.readings[:, [a, b]] != MISSING).all(axis=1)
        first, second, shares = found.readings[both, a], found.readings[both, b], weights[:, both]
        made[:, a, b, 0] = weighted_mean(shares, first == second)
        made[:, a, b, 1] = weighted_qwk(shares, first, second)
    return made


def _identified(readers: int, num_classes: int, blocks: Sequence[int] | None, anchors: np.ndarray) -> bool:
    """True where every block has anchors of all its classes, or frequencies enough for its numbers."""
    inside = same_block(blocks, num_classes)
    for block in np.unique(inside, axis=0):
        size = int(block.sum())
        unknown = size - 1 + readers * size * (size - 1)
        if unknown > size**readers - 1 and not set(np.flatnonzero(block)) <= set(anchors.tolist()):
            return False
    return True
