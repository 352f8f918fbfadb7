"""Distance of an embedding to the training knees, and its conformal p value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LEVEL = 0.05
"""Largest share of knees of the same kind that may be called unusual, where enough knees calibrate it."""


@dataclass(frozen=True, eq=False)
class MahalanobisDistance:
    r"""Root mean square of whitened coordinates, :math:`\sqrt{(z - \mu)^\top \Sigma^{-1} (z - \mu) / d}`.

    :math:`\Sigma` is the Ledoit-Wolf estimate (2004, doi:10.1016/S0047-259X(03)00096-4) on features
    standardised by the training knees, so it can be inverted with fewer knees than features. One Gaussian
    for all grades: they form a continuum, and few knees have the rare ones (Lee et al. 2018,
    arXiv:1807.03888, have one mean a class). Knees of the kind trained on have a distance of about 1.
    """

    mean: Tensor
    scale: Tensor
    whitening: Tensor
    """``(features, features)``: standardised coordinates to uncorrelated ones of unit variance."""

    @classmethod
    def fit(cls, embeddings: Float[Tensor, "knees features"]) -> MahalanobisDistance:
        """Fit on training knees.

        Raises:
            ValueError: fewer than two knees.
        """
        from sklearn.covariance import LedoitWolf

        if len(embeddings) < 2:
            raise ValueError(f"embeddings: expected two knees or more, got {len(embeddings)}")
        values = embeddings.double().cpu()
        mean, scale = values.mean(dim=0), values.std(dim=0)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        covariance = LedoitWolf(assume_centered=True).fit(((values - mean) / scale).numpy()).covariance_
        variance, axes = torch.linalg.eigh(torch.from_numpy(covariance))
        floor = variance.amax() * 1e-8 + 1e-12  # features that never vary leave none to divide by
        return cls(mean, scale, axes / variance.clamp(min=float(floor)).sqrt())

    def standardise(self, embeddings: Float[Tensor, "knees features"]) -> Float[Tensor, "knees features"]:
        """Embeddings by the mean and the standard deviation of the training knees, float64.

        Raises:
            ValueError: another number of features.
        """
        if embeddings.shape[1] != len(self.mean):
            raise ValueError(
                f"embeddings: expected {len(self.mean)} features as the training knees have, "
                f"got {embeddings.shape[1]}"
            )
        return (embeddings.double().cpu() - self.mean) / self.scale

    def __call__(self, embeddings: Float[Tensor, "knees features"]) -> Float[Tensor, " knees"]:
        """Distances, ``(knees,)`` float64."""
        return (self.standardise(embeddings) @ self.whitening).square().mean(dim=1).sqrt()


def conformal_p(
    distance: Float[Tensor, " knees"], held_out: Float[Tensor, " others"]
) -> Float[Tensor, " knees"]:
    r"""Conformal p value :math:`(1 + \#\{h : d_h \ge d\}) / (n + 1)`.

    Vovk et al. 2005, doi:10.1007/b106715; for outliers Bates et al. 2023, arXiv:2104.08279.

    If the knee is exchangeable with the ``n`` held-out knees, ``p <= a`` happens with a probability of at
    most ``a``, whatever the distance is. A distance that is not finite counts as the largest.

    >>> conformal_p(torch.tensor([0.0, 2.5, 9.0]), torch.tensor([1.0, 2.0, 3.0])).tolist()
    [1.0, 0.5, 0.25]
    """
    far = torch.where(distance.isnan(), torch.inf, distance)
    as_far = (held_out[None] >= far[:, None]).sum(dim=1)
    return (1 + as_far).double() / (len(held_out) + 1)


def smallest_level(held_out: int) -> float:
    """The level at which a knee is called unusual: 0.05, or what so few held-out knees allow.

    With ``n`` of them no p value is below ``1 / (n + 1)``: with fewer than 19, a knee is unusual that is
    further away than all of them.

    >>> smallest_level(200), smallest_level(9)
    (0.05, 0.1)
    """
    return max(LEVEL, 1 / (held_out + 1))
