"""How the losses of several heads become one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from oahier.specs import Specified


class LossWeighting(Specified, nn.Module, ABC):
    """Joins the losses of the heads that teach the encoder (probes are added beside it, unweighted)."""

    def build(self, heads: Sequence[str]) -> None:
        """Learn the names of the heads; the model calls this once, before training.

        Raises:
            ValueError: the names do not fit this weighting.
        """

    @abstractmethod
    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        """Scalar objective from the scalar loss of each head that had a labelled knee in the batch."""


class FixedWeights(LossWeighting):
    """``sum_h w_h loss_h``, the paper's objective with all weights 1.

    Args:
        weights: weight of each head, all non-negative; all 1 when not given.

    Raises:
        ValueError: a negative or non-finite weight.

    >>> FixedWeights({"oa": 1.0, "kl": 0.5})({"oa": torch.tensor(2.0), "kl": torch.tensor(2.0)}).item()
    3.0
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        for name, weight in (weights or {}).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"loss_weights[{name!r}] must be a finite number >= 0, got {weight}")
        self.weights = None if weights is None else dict(weights)

    def build(self, heads: Sequence[str]) -> None:
        if self.weights is not None and set(self.weights) != set(heads):
            raise ValueError(
                f"loss_weights must name exactly the heads that teach the encoder: expected {sorted(heads)}, "
                f"got {sorted(self.weights)}"
            )

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        weights = self.weights or {}
        return torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()


class UncertaintyWeights(LossWeighting):
    r"""Weights learned from each task's homoscedastic uncertainty.

    :math:`\sum_h e^{-s_h} L_h + s_h / 2` with one learned log-variance :math:`s_h` a head (Kendall, Gal &
    Cipolla 2018, arXiv:1705.07115, eq. 10 for classification).

    >>> weighting = UncertaintyWeights()
    >>> weighting.build(["oa", "kl"])
    >>> weighting({"oa": torch.tensor(1.0), "kl": torch.tensor(2.0)}).item()
    3.0
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict()

    def build(self, heads: Sequence[str]) -> None:
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in heads})

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        terms = [
            torch.exp(-self.log_variances[name]) * loss + self.log_variances[name] / 2
            for name, loss in losses.items()
        ]
        return torch.stack(terms).sum()
