"""The order of drawing and the rounding of the published evaluation, for repeating it to the last digit.

Order: one generator draws new resamples for OA AUC, accuracy and F1, then for KL macro AUC, accuracy and
macro F1. Each metric so has its own block of the stream, whichever other metrics a pair of files has;
further metrics take the blocks after these.

Rounding: the area by the trapezoid rule in floating point, as scikit-learn computes it, differs from the
exact count of pairs in the last bit. Where two models' areas are equal, that bit decides on which side of
zero a resample counts, so the published p value (0.5879 for ResNet3D's OA AUC) is not that of exact counting
(0.5897).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oahier.hierarchy import COARSE, FINE
from oahier.metrics.registry import registered
from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Floats, Marks, Weights
from oahier.statistics.intervals import weight_chunks

_PUBLISHED = 3
"""The first three metrics of each head are those of the paper."""


def published_generator(
    head: str, metric: str, subjects: npt.NDArray[np.character], resamples: int, seed: int
) -> np.random.Generator:
    """A generator that stands where the resamples of a metric of the OA or the KL head begin.

    Raises:
        ValueError: a head or metric for which the paper gives no order.
    """
    names = {
        COARSE: [one.name for one in registered("binary")],
        FINE: [one.name for one in registered("ordinal")],
    }
    order = [(head, name) for head, found in names.items() for name in found[:_PUBLISHED]]
    order += [(head, name) for head, found in names.items() for name in found[_PUBLISHED:]]
    if (head, metric) not in order:
        raise ValueError(
            f"the published order is that of the heads {COARSE} and {FINE}: it has no metric {metric!r} of "
            f"head {head!r}; leave it out, or resample in the usual order"
        )
    generator = np.random.default_rng(seed)
    for _ in range(order.index((head, metric))):
        for _ in weight_chunks(subjects, resamples, generator):
            pass
    return generator


def trapezoid_auc(weights: Weights, rows: Rows) -> Floats:
    """Area under the ROC curve by the trapezoid rule over its corners, one resample after the other.

    Args:
        weights: ``(resamples, rows)``.
        rows: labels and probabilities of a model.

    Returns:
        ``(resamples,)``; NaN where a resample has one class only.
    """
    score = rows.probabilities[:, 1]
    order = np.argsort(-score, kind="stable")
    scores, positive = score[order], rows.positive[order]
    return np.array([_area(row, scores, positive) for row in weights[:, order].astype(np.float64)])


def _area(weights: Floats, scores: Floats, positive: Marks) -> float:
    present = weights > 0
    weights, scores, positive = weights[present], scores[present], positive[present]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits = np.cumsum(weights * positive)[last]
    alarms = np.cumsum(weights)[last] - hits
    if hits[-1] == 0 or alarms[-1] == 0:
        return float("nan")
    if len(hits) > 2:
        corner = np.concatenate(([True], (np.diff(alarms, 2) != 0) | (np.diff(hits, 2) != 0), [True]))
        hits, alarms = hits[corner], alarms[corner]
    x, y = np.append(0.0, alarms) / alarms[-1], np.append(0.0, hits) / hits[-1]
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2.0).sum())
