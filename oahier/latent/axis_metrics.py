"""Metrics of how held-out knees are ordered along a severity axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from oahier.latent.axis import SeverityAxisFit, complete_oa
from oahier.latent.unbiased import label_cosine_unbiased, straightness_unbiased
from oahier.metrics.association import auc, spearman, trend, varies
from oahier.types import KL_GRADES, MISSING

if TYPE_CHECKING:
    import numpy.typing as npt


def axis_measures(
    fit: SeverityAxisFit,
    embeddings: Float[Tensor, "knees features"],
    kl: Int[Tensor, " knees"],
    oa: Int[Tensor, " knees"] | None = None,
) -> dict[str, float]:
    r"""Measure an axis on held-out knees.

    Args:
        fit: the axis, fitted on *training* knees.
        embeddings: ``(knees, features)`` of held-out knees.
        kl: ``(knees,)`` grades, ``MISSING`` where unknown.
        oa: ``(knees,)`` labels, ``MISSING`` where unknown; derived from ``kl`` when not given.

    Returns:
        Always the same keys; NaN where a value is undefined.

        - ``explained_variance``: share of the standardised training variance along the axis (the
          published figure); ``explained_variance_held_out``: the same share of the held-out knees.
        - ``spearman_kl``, ``spearman_oa``: absolute rank correlation of the projection with the labels.
        - ``probe_auc``: AUC for OA of the one-dimensional logistic probe fitted on training projections.
        - ``trend_z``, ``trend_p``: Jonckheere-Terpstra test of increase over the grades, tie-corrected,
          one-sided.
        - ``monotonicity``: share of steps between neighbouring grades present along which the mean
          projection increases.
        - ``separation``: mean of the ``separation_g_h``, the d' of neighbouring grades,
          :math:`(m_h - m_g) / \sqrt{(s_g^2 + s_h^2) / 2}`, each from two knees a grade on.
        - ``straightness``: distance from the first to the last grade centroid over the length of the path
          through all centroids, in the whole standardised space (three grades or more; 1 is a line).
        - ``oa_kl_cosine``: cosine between the directions in which the embedding moves with OA and with KL,
          :math:`\mathrm{cov}(x, \mathrm{oa})` and :math:`\mathrm{cov}(x, \mathrm{kl})`.
        - ``straightness_unbiased``, ``oa_kl_cosine_unbiased``: the same without what the scatter of knees
          adds, comparable between widths; NaN where little but scatter is left
          (:mod:`oahier.latent.unbiased`).
        - ``knees``: number of held-out knees with an embedding and a grade or an OA label.
    """
    held_out = held_out_knees(fit, embeddings, kl, oa)
    return ordering(fit, held_out) | unbiased(held_out)


@dataclass(frozen=True)
class HeldOut:
    """Held-out knees with an embedding and a label."""

    standard: npt.NDArray[Any]
    """``(knees, features)`` in the space in which the axis was fitted."""
    grades: npt.NDArray[Any]
    oa: npt.NDArray[Any]

    def dealt(self, order: npt.NDArray[Any]) -> HeldOut:
        """The same knees with the labels of others."""
        return HeldOut(self.standard, self.grades[order], self.oa[order])


def held_out_knees(
    fit: SeverityAxisFit,
    embeddings: Float[Tensor, "knees features"],
    kl: Int[Tensor, " knees"],
    oa: Int[Tensor, " knees"] | None = None,
) -> HeldOut:
    """The knees that an axis is measured on, see :func:`axis_measures`."""
    oa = complete_oa(kl, oa)
    keep = embeddings.isfinite().all(dim=1).cpu() & ((kl != MISSING) | (oa != MISSING)).cpu()
    standard = fit.standardise(embeddings).numpy()[keep.numpy()]
    return HeldOut(standard, kl.cpu()[keep].numpy(), oa.cpu()[keep].numpy())


def ordering(fit: SeverityAxisFit, held_out: HeldOut) -> dict[str, float]:
    """The metrics of :func:`axis_measures` but the unbiased ones, which cost knees x knees numbers."""
    standard, grades, labels = held_out.standard, held_out.grades, held_out.oa
    projection = standard @ fit.direction.numpy()
    graded, told = grades != MISSING, labels != MISSING
    z, p = trend(projection[graded], grades[graded])
    return {
        "explained_variance": fit.explained_variance,
        "explained_variance_held_out": _explained(standard, projection),
        "spearman_kl": abs(spearman(projection[graded], grades[graded])),
        "spearman_oa": abs(spearman(projection[told], labels[told])),
        "probe_auc": auc(fit.probe_coefficient * projection[told], labels[told]),
        "trend_z": z,
        "trend_p": p,
        "monotonicity": _monotonicity(projection[graded], grades[graded]),
        **_separations(projection[graded], grades[graded]),
        "straightness": _straightness(standard[graded], grades[graded]),
        "oa_kl_cosine": _label_cosine(standard[graded & told], labels[graded & told], grades[graded & told]),
        "knees": float(len(standard)),
    }


def unbiased(held_out: HeldOut) -> dict[str, float]:
    """The metrics of :mod:`oahier.latent.unbiased`."""
    standard, grades, labels = held_out.standard, held_out.grades, held_out.oa
    graded = grades != MISSING
    both = graded & (labels != MISSING)
    return {
        "straightness_unbiased": straightness_unbiased(standard[graded], grades[graded]),
        "oa_kl_cosine_unbiased": label_cosine_unbiased(standard[both], labels[both], grades[both]),
    }


def umap_embedding(
    embeddings: Float[Tensor, "knees features"],
    *,
    neighbours: int = 15,
    min_distance: float = 0.1,
    seed: int = 0,
) -> Float[Tensor, "knees 2"]:
    """Two UMAP coordinates a knee, for figures only (McInnes et al. 2018, arXiv:1802.03426).

    The first call of a process takes half a minute to import and compile. Distances between far points
    mean nothing: read numbers from :func:`axis_measures`.

    Args:
        embeddings: ``(knees, features)``, for instance ``fit.standardise(embeddings)``.
        neighbours: size of the neighbourhood, cut to the number of other knees.
        min_distance: least distance of points in the figure.
        seed: fixes the layout.

    Raises:
        ValueError: fewer than four knees.
    """
    if len(embeddings) < 4:
        raise ValueError(f"embeddings: UMAP needs at least 4 knees, got {len(embeddings)}")
    import umap

    reducer = umap.UMAP(
        n_neighbors=min(neighbours, len(embeddings) - 1),
        min_dist=min_distance,
        init="random" if len(embeddings) < 10 else "spectral",
        random_state=seed,
        n_jobs=1,
    )
    return torch.from_numpy(reducer.fit_transform(embeddings.float().cpu().numpy()))


def _explained(standard: npt.NDArray[Any], projection: npt.NDArray[Any]) -> float:
    total = standard.var(axis=0).sum() if len(standard) > 1 else 0.0
    return float(projection.var() / total) if total > 0 else float("nan")


def _monotonicity(projection: npt.NDArray[Any], grades: npt.NDArray[Any]) -> float:
    means = np.array([projection[grades == grade].mean() for grade in np.unique(grades)])
    if len(means) < 2 or not np.isfinite(means).all():
        return float("nan")
    return float((np.diff(means) > 0).mean())


def _separations(projection: npt.NDArray[Any], grades: npt.NDArray[Any]) -> dict[str, float]:
    values = {
        f"separation_{grade}_{grade + 1}": _separation(
            projection[grades == grade], projection[grades == grade + 1]
        )
        for grade in range(KL_GRADES - 1)
    }
    defined = [value for value in values.values() if not np.isnan(value)]
    return {"separation": float(np.mean(defined)) if defined else float("nan"), **values}


def _separation(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> float:
    if len(low) < 2 or len(high) < 2:
        return float("nan")
    spread = np.sqrt((low.var(ddof=1) + high.var(ddof=1)) / 2)
    return float((high.mean() - low.mean()) / spread) if spread > 0 else float("nan")


def _straightness(standard: npt.NDArray[Any], grades: npt.NDArray[Any]) -> float:
    present = np.unique(grades)
    if len(present) < 3:
        return float("nan")
    centroids = np.stack([standard[grades == grade].mean(axis=0) for grade in present])
    length = np.linalg.norm(np.diff(centroids, axis=0), axis=1).sum()
    return float(np.linalg.norm(centroids[-1] - centroids[0]) / length) if length > 0 else float("nan")


def _label_cosine(standard: npt.NDArray[Any], oa: npt.NDArray[Any], kl: npt.NDArray[Any]) -> float:
    if not varies(oa) or len(np.unique(kl)) < 3:
        return float("nan")
    centred = standard - standard.mean(axis=0)
    with_oa, with_kl = oa @ centred, kl @ centred
    length = np.linalg.norm(with_oa) * np.linalg.norm(with_kl)
    return float(with_oa @ with_kl / length) if length > 0 else float("nan")
