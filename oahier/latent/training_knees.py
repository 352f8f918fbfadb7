"""The knees that a model was trained on, as far as a new knee is compared with them: their embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oahier.latent.axis import SeverityAxisFit, fit_severity_axis
from oahier.latent.axis_kinds import AxisDirection
from oahier.latent.novelty import MahalanobisDistance, conformal_p, smallest_level
from oahier.types import KL_GRADES, MISSING

Origin = Literal["training steps", "evaluation"]


@dataclass(frozen=True)
class Place:
    """Where knees lie among those of a reference; each tensor is float64, one row a knee."""

    axis: Tensor
    """``(knees,)`` coordinate along the severity axis."""
    percentile: Tensor
    """``(knees,)`` share of the training knees below on the axis, in percent (ties count half)."""
    nearest_grade: Tensor
    """``(knees,)`` grade with the nearest mean training coordinate; ``MISSING`` without grades."""
    neighbours: Tensor
    """``(knees, k)`` int64 rows of the nearest training knees, nearest first."""
    distance: Tensor
    """``(knees,)`` see :class:`~oahier.latent.novelty.MahalanobisDistance`."""
    p: Tensor
    """``(knees,)`` conformal p value against the held-out knees."""
    unusual: Tensor
    """``(knees,)`` bool, ``p`` at most ``level``."""


@dataclass(frozen=True, eq=False)
class EmbeddingReference:
    """Embeddings of training knees, and of held-out knees that calibrate what "far" means.

    Args:
        embeddings: ``(knees, features)`` of training knees.
        kl: ``(knees,)`` their grades, ``MISSING`` where unknown.
        oa: ``(knees,)`` their OA labels, ``MISSING`` where unknown.
        held_out: ``(others, features)`` of knees of the same kind that taught the model nothing, in
            evaluation mode.
        axis: the severity axis of the training knees.
        origin: how the training embeddings were made: by the training steps (free, but with augmentation and
            batch statistics), or in evaluation mode.

    Raises:
        ValueError: lengths or widths that differ.
    """

    embeddings: Tensor
    kl: Tensor
    oa: Tensor
    held_out: Tensor
    axis: SeverityAxisFit
    origin: Origin = "training steps"

    def __post_init__(self) -> None:
        if not len(self.embeddings) == len(self.kl) == len(self.oa):
            raise ValueError(
                f"embeddings, kl and oa: expected equal lengths, got {len(self.embeddings)}, {len(self.kl)} "
                f"and {len(self.oa)}"
            )
        if self.held_out.shape[1] != self.embeddings.shape[1]:
            raise ValueError(
                f"held_out: expected {self.embeddings.shape[1]} features as the training embeddings have, "
                f"got {self.held_out.shape[1]}"
            )

    @classmethod
    def fit(
        cls,
        embeddings: Float[Tensor, "knees features"],
        kl: Int[Tensor, " knees"],
        oa: Int[Tensor, " knees"],
        held_out: Float[Tensor, "others features"],
        *,
        kind: str | AxisDirection = "pca",
        axis: SeverityAxisFit | None = None,
        origin: Origin = "evaluation",
    ) -> EmbeddingReference:
        """A reference of the knees whose values are all finite, with an axis of its own if none is given."""
        rows = embeddings.isfinite().all(dim=1)
        embeddings, kl, oa = embeddings[rows], kl[rows], oa[rows]
        axis = axis or fit_severity_axis(embeddings, kl, oa, kind=kind)
        return cls(embeddings, kl, oa, held_out[held_out.isfinite().all(dim=1)], axis, origin)

    @property
    def level(self) -> float:
        """Share of knees of the same kind that will be called unusual."""
        return smallest_level(len(self.held_out))

    @cached_property
    def distance(self) -> MahalanobisDistance:
        """Distance to the training knees."""
        return MahalanobisDistance.fit(self.embeddings)

    @cached_property
    def held_out_distance(self) -> Tensor:
        """``(others,)`` distances of the held-out knees."""
        return self.distance(self.held_out)

    @cached_property
    def projection(self) -> Tensor:
        """``(knees,)`` coordinates of the training knees along the axis."""
        return self.axis.project(self.embeddings)

    def place(self, embeddings: Float[Tensor, "new features"], *, neighbours: int = 5) -> Place:
        """Where new knees lie among the training knees.

        Args:
            embeddings: ``(new, features)`` in evaluation mode.
            neighbours: number of nearest training knees (Euclidean distance of standardised embeddings).

        Raises:
            ValueError: another number of features than the reference has.

        >>> generator = torch.Generator().manual_seed(0)
        >>> train, other = torch.randn(60, 4, generator=generator), torch.randn(40, 4, generator=generator)
        >>> grades = (train[:, 0] * 2 + 2).round().long().clamp(0, 4)
        >>> reference = EmbeddingReference.fit(train, grades, (grades >= 2).long(), other, kind="regression")
        >>> place = reference.place(torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]]))
        >>> place.nearest_grade.tolist(), place.unusual.tolist()
        ([2, 2], [False, True])
        """
        axis = self.axis.project(embeddings)
        below = (self.projection[None] < axis[:, None]).double()
        ties = (self.projection[None] == axis[:, None]).double()
        distance = self.distance(embeddings)
        p = conformal_p(distance, self.held_out_distance)
        unknown = axis.isnan()
        percentile = (100 * (below + ties / 2).mean(dim=1)).masked_fill(unknown, float("nan"))
        return Place(
            axis, percentile, self._nearest_grade(axis), self._neighbours(embeddings, neighbours), distance,
            p, p <= self.level,
        )  # fmt: skip

    def grade_projections(self) -> dict[int, Tensor]:
        """Coordinates of the training knees along the axis, by grade; grades without knees are left out."""
        found = {grade: self.projection[self.kl == grade] for grade in range(KL_GRADES)}
        return {grade: values for grade, values in found.items() if len(values)}

    def _nearest_grade(self, axis: Tensor) -> Tensor:
        centres = {grade: values.mean() for grade, values in self.grade_projections().items()}
        if not centres or bool(axis.isnan().any()):
            return torch.full((len(axis),), MISSING)
        off = (axis[:, None] - torch.stack(list(centres.values()))[None]).abs()
        return torch.tensor(list(centres))[off.argmin(dim=1)]

    def _neighbours(self, embeddings: Tensor, count: int) -> Tensor:
        known, new = (self.distance.standardise(values) for values in (self.embeddings, embeddings))
        found: Tensor = torch.cdist(new, known).topk(min(count, len(known)), largest=False).indices
        return found

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and strings, which load with ``weights_only=True``."""
        return {
            "embeddings": self.embeddings.float().cpu(), "kl": self.kl.to(torch.int8).cpu(),
            "oa": self.oa.to(torch.int8).cpu(), "held_out": self.held_out.float().cpu(),
            "axis": self.axis.state(), "origin": self.origin,
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> EmbeddingReference:
        """The inverse of :meth:`state`."""
        axis = SeverityAxisFit.from_state(state["axis"])
        kl, oa = state["kl"].long(), state["oa"].long()
        return cls(state["embeddings"], kl, oa, state["held_out"], axis, state["origin"])
