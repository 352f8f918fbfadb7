"""Weightings that join the losses of heads and terms into one objective."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from oahier.specs import Specified
from oahier.types import TrainingFacts


class LossWeighting(Specified, nn.Module, ABC):
    """Joins the losses that supervise the encoder (those of probes are added beside it, unweighted)."""

    def build(self, names: Sequence[str]) -> None:
        """Take the names of the heads and terms that will be joined; the model calls this once.

        Raises:
            ValueError: the names do not fit this weighting.
        """

    def prepare(self, facts: TrainingFacts) -> None:
        """Use facts of the training split; see :meth:`oahier.Head.prepare`."""

    def begin_epoch(self, epoch: int) -> None:
        """Take note of a training epoch; the model calls it, again for an epoch that is resumed.

        What a weighting learns from the steps of an epoch belongs in buffers, which checkpoints hold and DDP
        copies from the first process.
        """

    @abstractmethod
    def forward(self, losses: dict[str, Tensor], shared: Tensor | None = None) -> Tensor:
        """Scalar objective from the scalar losses of this batch.

        Args:
            losses: of each head that had a labelled knee, and of each term.
            shared: the embedding ``(batch, num_features)`` with its graph, that the losses have in common:
                ``torch.autograd.grad(loss, shared, retain_graph=True)`` is the gradient of a task that
                GradNorm, MGDA and PCGrad compare. Without a graph in validation and test steps; None where
                the mean losses of an epoch are joined.
        """


class FixedWeights(LossWeighting):
    """``sum_h w_h loss_h``, the paper's objective with all weights 1.

    Args:
        weights: weight of each head and term, all non-negative; all 1 when not given.

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

    def build(self, names: Sequence[str]) -> None:
        if self.weights is not None and set(self.weights) != set(names):
            raise ValueError(
                "loss_weights must name exactly the heads and terms that supervise the encoder: "
                f"expected {sorted(names)}, got {sorted(self.weights)}"
            )

    def forward(self, losses: dict[str, Tensor], shared: Tensor | None = None) -> Tensor:
        weights = self.weights or {}
        return torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()


class UncertaintyWeights(LossWeighting):
    r"""Weights learned from each task's homoscedastic uncertainty.

    :math:`\sum_h e^{-s_h} L_h + s_h / 2` with one learned log-variance :math:`s_h` a task (Kendall, Gal &
    Cipolla 2018, arXiv:1705.07115, eq. 10 for classification).

    >>> weighting = UncertaintyWeights()
    >>> weighting.build(["oa", "kl"])
    >>> weighting({"oa": torch.tensor(1.0), "kl": torch.tensor(2.0)}).item()
    3.0
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict()

    def build(self, names: Sequence[str]) -> None:
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def forward(self, losses: dict[str, Tensor], shared: Tensor | None = None) -> Tensor:
        terms = [
            torch.exp(-self.log_variances[name]) * loss + self.log_variances[name] / 2
            for name, loss in losses.items()
        ]
        return torch.stack(terms).sum()
