"""Terms of the objective that are no head's own loss: consistency, contrast, regularisers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from oahier.specs import Specified
from oahier.types import Scalar, Step, TrainingFacts


class Term(Specified, nn.Module, ABC):
    """A scalar that is computed from a whole step and weighted like the loss of a head.

    It is evaluated in training, validation and test steps; in the last two without gradients. Its parameters
    are trained with the model and stored in its checkpoints.

    >>> import torch
    >>> class Decay(Term):
    ...     def forward(self, step):
    ...         return step["embedding"].square().mean()
    >>> Decay()({"embedding": torch.tensor([[3.0, 1.0]])}).item()
    5.0
    """

    def build(self, num_features: int) -> None:
        """Make layers for an embedding of ``num_features``; the model calls this once."""

    def prepare(self, facts: TrainingFacts) -> None:
        """Use facts of the training split; see :meth:`oahier.Head.prepare`."""

    @abstractmethod
    def forward(self, step: Step) -> Scalar:
        """Scalar, with its graph; zero where the batch has nothing to say, never NaN."""
