"""The severity axis: one direction of the latent space, fitted on training knees.

The recipe of arXiv:2605.00718 (``kind="pca"``): embeddings are standardised by training statistics and
the axis is their first principal component. The other kinds read the grades while fitting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from oahier.hierarchy import oa_from_kl
from oahier.latent.axis_kinds import AxisDirection, first_component, named_direction
from oahier.metrics.association import spearman, varies
from oahier.types import MISSING

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class SeverityAxisFit:
    """A fitted axis; every tensor is float64 on the CPU. An undefined axis is all NaN.

    Coordinates are ``((embedding - mean) / scale) @ direction``; ``direction`` and ``second`` are
    orthogonal unit vectors of the standardised space.
    """

    kind: str
    mean: Tensor
    scale: Tensor
    direction: Tensor
    """``(features,)``, oriented such that severity of the training knees increases along it."""
    second: Tensor
    """``(features,)`` first principal component of what the axis leaves over (for pictures)."""
    explained_variance: float
    """Share of the standardised training variance that lies along the axis."""
    probe_coefficient: float
    """Slope of the logistic regression of OA on the training projections."""
    probe_intercept: float
    knees: int
    """Number of training knees behind the fit."""

    def standardise(self, embeddings: Float[Tensor, "knees features"]) -> Float[Tensor, "knees features"]:
        """Embeddings in the standardised space, float64.

        Raises:
            ValueError: the embeddings have another width than those of the fit.
        """
        if embeddings.shape[1] != len(self.mean):
            raise ValueError(
                f"embeddings: expected {len(self.mean)} features (the axis was fitted on as many), "
                f"got {embeddings.shape[1]}; fit an axis for this encoder"
            )
        return (embeddings.double().cpu() - self.mean) / self.scale

    def project(self, embeddings: Float[Tensor, "knees features"]) -> Float[Tensor, " knees"]:
        """Coordinates along the axis, ``(knees,)`` float64."""
        return self.standardise(embeddings) @ self.direction

    def project_second(self, embeddings: Float[Tensor, "knees features"]) -> Float[Tensor, " knees"]:
        """Coordinates along the second component, ``(knees,)`` float64."""
        return self.standardise(embeddings) @ self.second

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and a string, which load with ``weights_only=True``."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SeverityAxisFit:
        """The inverse of :meth:`state`."""
        return cls(**state)


def fit_severity_axis(
    embeddings: Float[Tensor, "knees features"],
    kl: Int[Tensor, " knees"],
    oa: Int[Tensor, " knees"] | None = None,
    *,
    kind: str | AxisDirection = "pca",
) -> SeverityAxisFit:
    """Fit an axis on training knees. Deterministic; no random state is read or changed.

    Args:
        embeddings: ``(knees, features)``; knees with a value that is not finite are left out.
        kl: ``(knees,)`` grades, ``MISSING`` where unknown.
        oa: ``(knees,)`` labels, ``MISSING`` where unknown; derived from ``kl`` when not given.
        kind: ``"pca"``, ``"lda"``, ``"regression"``, ``"centroid"`` (:mod:`oahier.latent.axis_kinds`),
            another name in :data:`~oahier.latent.axis_kinds.AXIS_KINDS`, or a function of your own.

    Returns:
        The axis; all NaN when it is undefined: fewer than three knees, embeddings without variance, or
        fewer than two grades for a kind that reads them.

    Raises:
        ValueError: an unknown kind, or lengths that differ.

    >>> embeddings = torch.tensor([[0.0, 5.0], [1.0, 4.0], [2.0, 3.1], [3.0, 2.0]])
    >>> axis = fit_severity_axis(embeddings, torch.tensor([0, 1, 3, 4]), kind="centroid")
    >>> (axis.project(embeddings).diff() > 0).tolist()
    [True, True, True]
    """
    name, function = named_direction(kind)
    oa = complete_oa(kl, oa)
    if not len(embeddings) == len(kl) == len(oa):
        raise ValueError(
            f"embeddings, kl and oa: expected equal lengths, got {len(embeddings)}, {len(kl)} and {len(oa)}"
        )
    rows = embeddings.isfinite().all(dim=1).cpu()
    values: npt.NDArray[Any] = embeddings.double().cpu().numpy()[rows.numpy()]
    kl, oa = kl.cpu()[rows], oa.cpu()[rows]
    mean, scale = _standardisation(values)
    standard = (values - mean) / scale
    directions = _directions(standard, kl.numpy(), function)
    if directions is None:
        return _undefined(name, embeddings.shape[1], len(values))
    direction, second = directions
    direction = direction * _orientation(direction, standard @ direction, kl, oa)
    projection = standard @ direction
    slope, intercept = _probe(projection, oa.numpy())
    return SeverityAxisFit(
        kind=name,
        mean=torch.from_numpy(mean),
        scale=torch.from_numpy(scale),
        direction=torch.from_numpy(direction),
        second=torch.from_numpy(second * _largest_sign(second)),
        explained_variance=float(projection.var() / standard.var(axis=0).sum()),
        probe_coefficient=slope,
        probe_intercept=intercept,
        knees=len(values),
    )


def complete_oa(kl: Int[Tensor, " knees"], oa: Int[Tensor, " knees"] | None) -> Int[Tensor, " knees"]:
    """OA labels where they are known, what KL implies elsewhere."""
    implied = oa_from_kl(kl)
    return implied if oa is None else torch.where(oa == MISSING, implied, oa)


def _standardisation(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    from sklearn.preprocessing import StandardScaler

    if not len(values):
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    scaler = StandardScaler().fit(values)
    return np.asarray(scaler.mean_), np.asarray(scaler.scale_)


def _directions(
    standard: npt.NDArray[Any], kl: npt.NDArray[Any], direction: AxisDirection
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """The axis and the first component of the rest, both of unit length; ``None`` when undefined."""
    if len(standard) < 3 or not standard.var(axis=0).sum() > 0:
        return None
    found = direction(standard, kl)
    length = 0.0 if found is None else float(np.linalg.norm(found))
    if found is None or not (np.isfinite(length) and length > 0):
        return None
    axis = found / length
    second = first_component(standard - np.outer(standard @ axis, axis)) if standard.shape[1] > 1 else None
    return axis, np.zeros_like(axis) if second is None else second


def _orientation(direction: npt.NDArray[Any], projection: npt.NDArray[Any], kl: Tensor, oa: Tensor) -> float:
    """+1 or -1, such that the grade (or else OA, or else the largest loading) increases."""
    for labels in (kl.numpy(), oa.numpy()):
        known = labels != MISSING
        correlation = spearman(projection[known], labels[known])
        if correlation != 0 and not np.isnan(correlation):
            return float(np.sign(correlation))
    return _largest_sign(direction)


def _largest_sign(direction: npt.NDArray[Any]) -> float:
    return -1.0 if direction[np.abs(direction).argmax()] < 0 else 1.0


def _probe(projection: npt.NDArray[Any], oa: npt.NDArray[Any]) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    known = oa != MISSING
    if not varies(oa[known]):
        return float("nan"), float("nan")
    probe = LogisticRegression().fit(projection[known, None], oa[known])
    return float(probe.coef_[0, 0]), float(probe.intercept_[0])


def _undefined(kind: str, features: int, knees: int) -> SeverityAxisFit:
    nan, missing = float("nan"), torch.full((features,), float("nan"), dtype=torch.float64)
    return SeverityAxisFit(kind, missing, missing, missing, missing, nan, nan, nan, knees)
