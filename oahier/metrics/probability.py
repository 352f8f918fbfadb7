"""Measures of the probabilities themselves: proper scores and calibration. Results are float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oahier.types import Labels, Probabilities, Scalar

CALIBRATION_BINS = 10
"""Equal-width bins of the calibration error; few, because test sets of about a hundred knees are usual."""


@dataclass(frozen=True)
class Reliability:
    """Bins of a reliability curve; empty bins have NaN means."""

    confidence: Float[Tensor, " bins"]
    """Mean predicted probability."""
    frequency: Float[Tensor, " bins"]
    """Share of rows in which the predicted event happened."""
    count: Int[Tensor, " bins"]


def ranked_probability_score(probabilities: Probabilities, labels: Labels) -> Scalar:
    r"""Mean ranked probability score (Epstein 1969, doi:10.1175/1520-0450(1969)008<0985:ASSFPF>2.0.CO;2).

    :math:`\sum_k (\sum_{j \le k} p_j - [y \le k])^2`, not divided by the number of thresholds: 0 is a sure
    hit, ``num_classes - 1`` a sure miss by the whole scale. It is proper, and distance counts.

    Returns:
        NaN without rows.

    >>> p = torch.tensor([[0.2, 0.4, 0.2, 0.2], [0.7, 0.1, 0.1, 0.1]])
    >>> ranked_probability_score(p, torch.tensor([0, 0]))
    tensor(0.4900, dtype=torch.float64)
    """
    grades = torch.arange(probabilities.shape[1], device=labels.device)
    reached = (labels[:, None] <= grades).double()
    return (probabilities.double().cumsum(1) - reached).square().sum(1).mean()


def brier_score(probability: Float[Tensor, " rows"], labels: Labels) -> Scalar:
    """Mean squared difference between P(class 1) and the label (Brier 1950); NaN without rows.

    >>> brier_score(torch.tensor([0.9, 0.2]), torch.tensor([1, 0]))
    tensor(0.0250, dtype=torch.float64)
    """
    return (probability.double() - labels.double()).square().mean()


def reliability(
    confidence: Float[Tensor, " rows"], happened: Int[Tensor, " rows"], bins: int = CALIBRATION_BINS
) -> Reliability:
    """Group rows by predicted probability and compare it with how often the event happened.

    Bins have equal width; each holds its lower edge, and the last one also 1.

    Args:
        confidence: ``(rows,)`` predicted probability of an event.
        happened: ``(rows,)`` 1 where it happened, 0 where not.
        bins: number of bins.

    Raises:
        ValueError: fewer than one bin.

    >>> reliability(torch.tensor([0.1, 0.2, 1.0]), torch.tensor([0, 1, 1]), bins=2).frequency.tolist()
    [0.5, 1.0]
    """
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins}")
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidence.device)[1:-1]
    index = torch.bucketize(confidence.double(), edges, right=True)
    count = torch.bincount(index, minlength=bins)
    sums = (torch.bincount(index, values.double(), minlength=bins) for values in (confidence, happened))
    mean_confidence, frequency = (total / count for total in sums)
    return Reliability(mean_confidence, frequency, count)


def calibration_error(probabilities: Probabilities, labels: Labels, bins: int = CALIBRATION_BINS) -> Scalar:
    r"""Expected calibration error of the most probable class (Guo et al. 2017, arXiv:1706.04599).

    :math:`\sum_b n_b / n \, |\text{accuracy}_b - \text{confidence}_b|` over equal-width bins.

    Returns:
        NaN without rows or where a probability is not finite.

    >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    >>> calibration_error(p, torch.tensor([0, 1, 1]), bins=2)
    tensor(0.1333, dtype=torch.float64)
    """
    if len(labels) == 0 or not bool(probabilities.isfinite().all()):
        return torch.tensor(torch.nan, dtype=torch.float64, device=labels.device)
    confidence, predicted = probabilities.max(dim=1)
    curve = reliability(confidence, (predicted == labels).long(), bins)
    gap = (curve.frequency - curve.confidence).abs() * curve.count
    return gap.nansum() / len(labels)
