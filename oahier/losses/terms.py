"""Terms of the objective that are no head's own loss: consistency, contrast, regularisers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from oahier.specs import Specified
from oahier.types import Scalar, Step, TrainingFacts, is_known


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

    supervises: tuple[str, ...] = ()
    """Heads or target columns whose labels reach the encoder through this term, probes among them."""

    def build(self, num_features: int) -> None:
        """Make layers for an embedding of ``num_features``; the model calls this once."""

    def prepare(self, facts: TrainingFacts) -> None:
        """Use facts of the training split; see :meth:`oahier.Head.prepare`."""

    @abstractmethod
    def forward(self, step: Step) -> Scalar:
        """Scalar, with its graph; zero where the batch has nothing to say, never NaN."""


def labelled_embedding(step: Step, target: str) -> tuple[Tensor, Tensor]:
    """Embeddings ``(rows, features)`` and labels of the knees that have a label, both float32 at least.

    Raises:
        ValueError: the batch has no such target column.
    """
    if target not in step["targets"]:
        raise ValueError(
            f"a term reads target {target!r}, but the batch has {sorted(step['targets'])}; add it to the "
            "data module's targets or give the term another target"
        )
    labels = step["targets"][target]
    known = is_known(labels)
    embedding = step["embedding"][known]
    return embedding.to(torch.promote_types(embedding.dtype, torch.float32)), labels[known].to(torch.float32)


def nothing(step: Step) -> Scalar:
    """Zero with a graph, for batches that have nothing to say."""
    return 0.0 * step["embedding"].float().sum()
