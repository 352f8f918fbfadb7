"""Shapes, aliases and the records that travel between the components.

``Batch`` goes from the data module to the model, ``Step`` from the model to the terms of its objective,
``StepOutput`` from the model to the callbacks, ``TrainingFacts`` from the data module to whatever prepares
for a training split. Axes ``i j k`` are TorchIO's: after ``ToCanonical`` they run right, anterior, superior
(RAS+).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from jaxtyping import Float, Int
from torch import Tensor

MISSING = -1
"""The label of a knee that has none; such rows are left out of losses and metrics."""

KL_GRADES = 5
"""Number of Kellgren-Lawrence grades (0-4)."""

CARTILAGE_LABELS = (2, 4, 5)
"""OAIZIB-CM ids of femoral, medial tibial and lateral tibial cartilage (1 femur, 3 tibia)."""

Split = Literal["train", "val", "test"]

Volume = Float[Tensor, "batch 1 i j k"]
LabelMap = Int[Tensor, "batch 1 i j k"]
Embedding = Float[Tensor, "batch features"]
Logits = Float[Tensor, "batch logits"]
Probabilities = Float[Tensor, "batch classes"]
LogProbabilities = Float[Tensor, "batch classes"]
Labels = Int[Tensor, " batch"]
Targets = Int[Tensor, " batch"] | Float[Tensor, " batch"]
RowLosses = Float[Tensor, " batch"]
Severity = Float[Tensor, " batch"]
Scalar = Float[Tensor, ""]


def is_known(labels: Tensor) -> Tensor:
    """True where a target column has a value: neither ``MISSING`` nor, in a column of numbers, NaN.

    >>> import torch
    >>> is_known(torch.tensor([0, -1, 3])).tolist(), is_known(torch.tensor([1.5, torch.nan])).tolist()
    ([True, False, True], [True, False])
    """
    return ~labels.isnan() if labels.is_floating_point() else labels != MISSING


class Batch(TypedDict):
    """A collated batch of knees.

    ``cartilage`` is absent when no knee of the data set has a label map; within a batch, the map of a
    knee without one is all zero.
    """

    mri: Tensor
    """``(batch, 1, i, j, k)`` float32, z-scored.

    The loaders of a trainer that runs on another device than the processor make float16 batches of what the
    cache holds; steps and callbacks see them after the transfer, as float32.
    """
    cartilage: NotRequired[Tensor]
    """``(batch, 1, i, j, k)`` uint8 label map on the grid of ``mri``."""
    targets: dict[str, Tensor]
    """``(batch,)`` per target column.

    Classes (``"oa"``, ``"kl"``) are int64, ``MISSING`` where unknown. Numbers (joint-space width in
    millimetres, time to an event) are float32, NaN where unknown. Further readings of one label are columns
    of their own (``"kl"``, ``"kl_2"``), which a head takes together: ``Head(target=("kl", "kl_2"))``.
    """
    knee: list[str]
    subject: list[str]
    affine: Tensor
    """``(batch, 4, 4)`` float64, voxel index to millimetres of the preprocessed grid (RAS+)."""
    seed: NotRequired[Tensor]
    """``(batch,)`` int64, of the random augmentation of each knee; in training batches only."""


@dataclass(frozen=True)
class TrainingFacts:
    """Facts of the training split that a component may use before training.

    Args:
        class_counts: knees of each class of each target column.
        targets: columns of the head that is being prepared, the first of which it is evaluated on; empty for
            terms and weightings.
    """

    class_counts: Mapping[str, Sequence[int]]
    targets: tuple[str, ...] = ()

    def counts(self, num_classes: int) -> list[int]:
        """Knees of each class of the first target; 0 for a class that no knee has.

        Raises:
            ValueError: no counts of that column, or a class that is not among ``num_classes``.

        >>> TrainingFacts({"kl": [4, 2, 1]}, targets=("kl",)).counts(5)
        [4, 2, 1, 0, 0]
        """
        target = self.targets[0] if self.targets else None
        found = [int(count) for count in self.class_counts.get(target or "", ())]
        if not found or any(found[num_classes:]):
            raise ValueError(
                f"class counts: expected those of {num_classes} classes of target {target!r}, got "
                f"{ {name: list(counts) for name, counts in self.class_counts.items()} }"
            )
        return [*found, *[0] * num_classes][:num_classes]


class Step(TypedDict):
    """A step with its graph, for the terms of the objective."""

    features: tuple[Tensor, ...]
    """Feature maps ``(batch, channels, *grid)``, finest first, coarsest last."""
    embedding: Tensor
    logits: dict[str, Tensor]
    log_probabilities: dict[str, Tensor]
    """``(batch, num_classes)`` per head."""
    row_losses: dict[str, Tensor]
    """``(batch,)`` per head, NaN where a knee has no label."""
    targets: dict[str, Tensor]
    """``(batch,)`` per target *column*, as in :class:`Batch`."""
    knee: list[str]
    subject: list[str]
    epoch: int


class StepOutput(TypedDict):
    """What a training, validation or test step returns; callbacks read it and never change it.

    Every tensor but ``loss`` is detached. ``features`` is empty in training steps.
    """

    loss: Tensor
    losses: dict[str, Tensor]
    """Scalar per head that had a label and per term."""
    row_losses: dict[str, Tensor]
    """``(batch,)`` per head, NaN where a knee has no label."""
    features: tuple[Tensor, ...]
    """Feature maps ``(batch, channels, *grid)``, finest first, coarsest last."""
    embedding: Tensor
    logits: dict[str, Tensor]
    probabilities: dict[str, Tensor]
    """``(batch, num_classes)`` per head; binary heads have two columns."""
    severity: dict[str, Tensor]
    """``(batch,)`` expected grade per head."""
    targets: dict[str, Tensor]
    """``(batch,)`` int64 labels per *head* (not per column), ``MISSING`` where unknown; the first reading
    where a head has several."""
    knee: list[str]
    subject: list[str]
