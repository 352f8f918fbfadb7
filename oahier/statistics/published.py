"""The order of drawing and the rounding of the published evaluation, for repeating it to the last digit.

Order: one generator draws new resamples for OA AUC, accuracy and F1, then for KL macro AUC, accuracy and
macro F1, of one backbone after the other (ResNet3D, M3T, nnMamba). Each metric so has its own block of the
stream, whichever other metrics a pair of files has; further metrics take the blocks after these.

Rounding: the area by the trapezoid rule in floating point, as scikit-learn computes it, differs from the
exact count of pairs in the last bit. Where two models' areas are equal, that bit decides on which side of
zero a resample counts, so the published p value (0.5879 for ResNet3D's OA AUC) is not that of exact counting
(0.5897).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from oahier.hierarchy import COARSE, FINE
from oahier.metrics.registry import registered
from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Floats, Marks, Names, Weights
from oahier.statistics.bootstrap import RESAMPLES, SEED, compare_by_bootstrap
from oahier.statistics.contrasts import Contrast
from oahier.statistics.intervals import Statistic, weight_chunks
from oahier.statistics.tables import Comparison

_PUBLISHED = 3
"""The first three metrics of each head are those of the paper."""


@dataclass(frozen=True)
class Bootstrap:
    """Settings of the paired bootstrap over subjects.

    Args:
        resamples: number of resamples.
        seed: of the resampling.
        published: repeat the order of drawing and the rounding of the paper's evaluation; slower.
        before: backbones before this one in the published order.
    """

    resamples: int = RESAMPLES
    seed: int = SEED
    published: bool = False
    before: int = 0

    def rows(
        self,
        head: str,
        contrasts: Sequence[Contrast],
        subjects: Names,
        rows: Sequence[Comparison],
    ) -> list[Comparison]:
        """Rows of one head, resampled."""
        if not self.published:
            generator = np.random.default_rng(self.seed)
            return compare_by_bootstrap(
                contrasts, subjects, rows, resamples=self.resamples, generator=generator
            )
        found = []
        for one, row in zip(contrasts, rows, strict=True):
            generator = published_generator(
                head, one.metric, subjects, self.resamples, self.seed, before=self.before
            )
            exact = one if one.metric != "auc" else replace(one, a=_rounded(one.a), b=_rounded(one.b))
            found += compare_by_bootstrap(
                [exact], subjects, [row], resamples=self.resamples, generator=generator, tie=0.0
            )
        return found


def _rounded(statistics: Sequence[Statistic]) -> list[Statistic]:
    """The same areas by the trapezoid rule."""
    return [partial(trapezoid_auc, **one.keywords) if isinstance(one, partial) else one for one in statistics]


def published_generator(
    head: str,
    metric: str,
    subjects: Names,
    resamples: int,
    seed: int,
    *,
    before: int = 0,
) -> np.random.Generator:
    """A generator that stands where the resamples of a metric of the OA or the KL head begin.

    Args:
        head: OA or KL.
        metric: name of the metric.
        subjects: ``(rows,)``.
        resamples: in each block.
        seed: of the stream.
        before: backbones whose six blocks were drawn before.

    Raises:
        ValueError: a head or metric for which the paper gives no order.
    """
    names = {
        COARSE: [one.name for one in registered("binary")],
        FINE: [one.name for one in registered("ordinal")],
    }
    order = [(head, name) for head, found in names.items() for name in found[:_PUBLISHED]]
    blocks = before * len(order)
    order += [(head, name) for head, found in names.items() for name in found[_PUBLISHED:]]
    if (head, metric) not in order:
        raise ValueError(
            f"the published order is that of the heads {COARSE} and {FINE}: it has no metric {metric!r} of "
            f"head {head!r}; leave it out, or resample in the usual order"
        )
    generator = np.random.default_rng(seed)
    for _ in range(blocks + order.index((head, metric))):
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
