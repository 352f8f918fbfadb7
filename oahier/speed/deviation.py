"""Deviation of one way of computing a step from another, and how much of it is accepted."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Outcome:
    """What a step gives for one batch from given weights.

    Args:
        log_probabilities: of all heads, knees and classes, one after the other; their floor is ``FLOOR``.
        loss: the objective.
        gradient: of all parameters, one after the other.
    """

    log_probabilities: Tensor
    loss: float
    gradient: Tensor


FLOOR = -10.0
"""Log-probabilities below are this one: nobody reads a difference between 1e-5 and 1e-6."""


@dataclass(frozen=True)
class Deviation:
    """Differences between two outcomes, or the largest that are accepted.

    Args:
        log_probability: largest absolute difference.
        loss: absolute difference over the loss, or over 1 where the loss is smaller.
        gradient: norm of the difference over the norm of the gradient.
    """

    log_probability: float
    loss: float
    gradient: float

    def within(self, tolerance: Deviation) -> bool:
        """Whether no difference is above its tolerance; one that is NaN is not within any.

        >>> Deviation(0.0, 0.0, float("nan")).within(MIXED)
        False
        """
        return (
            self.log_probability <= tolerance.log_probability
            and self.loss <= tolerance.loss
            and self.gradient <= tolerance.gradient
        )


SAME = Deviation(log_probability=0.005, loss=0.002, gradient=0.02)
"""Accepted where the precision is the same: other orders of summation (TF32 convolutions on CUDA)."""

MIXED = Deviation(log_probability=0.05, loss=0.02, gradient=0.5)
"""Accepted of mixed precision. Its gradient of a few knees through batch normalisation was 0.33 off with
bfloat16 (ResNet3D-18, 4 knees of 32x48x48); a wrong one is off by 1 or more."""


def deviation(outcome: Outcome, reference: Outcome) -> Deviation:
    """Differences of an outcome from that of a reference.

    >>> import torch
    >>> one = Outcome(torch.tensor([-1.0, -2.0]), 2.0, torch.tensor([3.0, 4.0]))
    >>> other = Outcome(torch.tensor([-1.0, -2.5]), 2.2, torch.tensor([3.0, 3.0]))
    >>> found = deviation(other, one)
    >>> round(found.log_probability, 3), round(found.loss, 3), round(found.gradient, 3)
    (0.5, 0.1, 0.2)
    """
    gap = (outcome.log_probabilities - reference.log_probabilities).abs()
    off = (outcome.gradient - reference.gradient).double().norm()
    norm = reference.gradient.double().norm()
    return Deviation(
        log_probability=float(gap.max()) if gap.numel() else 0.0,
        loss=abs(outcome.loss - reference.loss) / max(1.0, abs(reference.loss)),
        gradient=float(off / norm) if norm > 0 else float(off),
    )
