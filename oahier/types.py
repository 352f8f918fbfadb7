"""Shapes, aliases and the two records that travel between the parts.

``Batch`` goes from the data module to the model, ``StepOutput`` from the model to the callbacks.
Axes ``i j k`` are TorchIO's: after ``ToCanonical`` they run right, anterior, superior (RAS+).
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import NotRequired, TypedDict

MISSING = -1
"""The label of a knee that has none; such rows are left out of losses and metrics."""

KL_GRADES = 5
"""Number of Kellgren-Lawrence grades (0-4)."""

CARTILAGE_LABELS = (2, 4, 5)
"""OAIZIB-CM ids of femoral, medial tibial and lateral tibial cartilage (1 femur, 3 tibia)."""

Split = Literal["train", "val", "test"]

Volume = Float[Tensor, "batch 1 i j k"]
LabelMap = Int[Tensor, "batch 1 i j k"]
FeatureMap = Float[Tensor, "batch channels _ _ _"]
Embedding = Float[Tensor, "batch features"]
Logits = Float[Tensor, "batch logits"]
Probabilities = Float[Tensor, "batch classes"]
Labels = Int[Tensor, " batch"]
Severity = Float[Tensor, " batch"]
Scalar = Float[Tensor, ""]


class Batch(TypedDict):
    """A collated batch of knees.

    ``cartilage`` is absent when no knee of the data set has a label map; within a batch, the map of a
    knee without one is all zero.
    """

    mri: Tensor
    """``(batch, 1, i, j, k)`` float32, z-scored."""
    cartilage: NotRequired[Tensor]
    """``(batch, 1, i, j, k)`` uint8 label map on the grid of ``mri``."""
    targets: dict[str, Tensor]
    """``(batch,)`` int64 per target column (``"oa"``, ``"kl"``), ``MISSING`` where unknown."""
    knee: list[str]
    subject: list[str]
    affine: Tensor
    """``(batch, 4, 4)`` float64, voxel index to millimetres of the preprocessed grid (RAS+)."""
    seed: NotRequired[Tensor]
    """``(batch,)`` int64, of the random augmentation of each knee; in training batches only."""


class StepOutput(TypedDict):
    """What a training, validation or test step returns; callbacks read it and never change it.

    Every tensor but ``loss`` is detached. ``features`` is empty in training steps.
    """

    loss: Tensor
    losses: dict[str, Tensor]
    features: tuple[Tensor, ...]
    """Feature maps ``(batch, channels, *grid)``, finest first, coarsest last."""
    embedding: Tensor
    logits: dict[str, Tensor]
    probabilities: dict[str, Tensor]
    """``(batch, num_classes)`` per head; binary heads have two columns."""
    severity: dict[str, Tensor]
    """``(batch,)`` expected grade per head."""
    targets: dict[str, Tensor]
    """``(batch,)`` labels per *head* (not per column), ``MISSING`` where unknown."""
    knee: list[str]
    subject: list[str]
