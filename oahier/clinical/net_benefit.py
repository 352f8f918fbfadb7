"""Decision curves: the net benefit of acting on a probability, over thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oahier.clinical.events import Event
from oahier.metrics.weighted import Floats

THRESHOLDS = tuple(np.round(np.arange(0.01, 1.0, 0.01), 2).tolist())


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit per knee at each threshold, beside that of acting on all; that of acting on none is 0."""

    thresholds: Floats
    model: Floats
    all: Floats
    low: Floats
    """Lower end of the 95 % interval of the model's; NaN where nothing was resampled."""
    high: Floats


def decision_curve(
    event: Event, thresholds: Sequence[float] = THRESHOLDS, *, resamples: int = 1000, seed: int = 0
) -> DecisionCurve:
    r"""Net benefit :math:`\frac{TP}{n} - \frac{FP}{n} \frac{t}{1 - t}` (Vickers & Elkin 2006).

    A knee is acted on where its probability is *t* or more, as in R's ``dcurves``
    (doi:10.1177/0272989X06295361). *t* is the probability at which somebody would be undecided; which range
    matters is a judgement that no data make. Intervals are percentiles over resampled subjects.

    Args:
        event: labelled knees.
        thresholds: from 0 to below 1.
        resamples: 0 gives no intervals.
        seed: of the resampling.

    Raises:
        ValueError: a threshold out of range.

    >>> curve = decision_curve(Event.of([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1]), [0.5], resamples=0)
    >>> curve.model.tolist(), curve.all.tolist()
    ([0.0], [0.0])
    """
    levels = np.asarray(thresholds, dtype=np.float64)
    if levels.ndim != 1 or not len(levels) or (levels < 0).any() or not (levels < 1).all():
        raise ValueError(f"thresholds: expected values from 0 to below 1, got {levels.tolist()[:5]}")
    odds = levels / (1 - levels)
    weights = np.ones((1, len(event)))
    drawn = event.resampled(resamples, seed)
    if drawn is not None:
        weights = np.concatenate([weights, drawn.astype(np.float64)])
    acted = (event.probability[:, None] >= levels).astype(np.float64)
    happened = event.happened.astype(np.float64)
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        true = (weights * happened) @ acted / total
        false = (weights * (1 - happened)) @ acted / total
        share = float(happened.mean()) if len(event) else np.nan
    benefit = true - odds * false
    if not (len(event) and np.isfinite(event.probability).all()):
        benefit = np.full_like(benefit, np.nan)
    low = high = np.full(len(levels), np.nan)
    if len(benefit) > 1:
        low, high = np.quantile(benefit[1:], [0.025, 0.975], axis=0)
    return DecisionCurve(levels, benefit[0], share - odds * (1 - share), low, high)
