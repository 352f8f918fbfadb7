"""Chance levels of axis metrics by permutation of labels, and split-half reliability of an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from oahier.latent.axis import SeverityAxisFit, fit_severity_axis
from oahier.latent.axis_kinds import AxisDirection
from oahier.latent.axis_metrics import held_out_knees, ordering

WITH_CHANCE = (
    "spearman_kl", "spearman_oa", "probe_auc", "monotonicity", "separation",
    "straightness", "oa_kl_cosine",
)  # fmt: skip
"""Metrics that have a chance level; without signal the unbiased ones are undefined."""


def axis_chance(
    fit: SeverityAxisFit,
    embeddings: Float[Tensor, "knees features"],
    kl: Int[Tensor, " knees"],
    oa: Int[Tensor, " knees"] | None = None,
    *,
    permutations: int = 50,
    seed: int = 0,
) -> dict[str, float]:
    """What :func:`~oahier.latent.axis_measures` gives when the labels say nothing of the held-out knees.

    The axis stays; KL and OA are dealt to the knees anew, together, so that their relation to each other
    stays too.

    Returns:
        ``{metric}_chance``, the mean over permutations, and ``{metric}_chance_high``, their 97.5th
        percentile, of :data:`WITH_CHANCE`. NaN where most permutations are undefined.
    """
    rows = fit.project(embeddings).argsort().cpu()  # the same numbers in whatever order the knees come
    held_out = held_out_knees(fit, embeddings[rows], kl.cpu()[rows], None if oa is None else oa.cpu()[rows])
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(permutations):
        order = torch.randperm(len(held_out.grades), generator=generator).numpy()
        measures = ordering(fit, held_out.dealt(order))
        drawn.append([measures[name] for name in WITH_CHANCE])
    found: dict[str, float] = {}
    for name, values in zip(WITH_CHANCE, np.array(drawn).T, strict=True):
        known = values[np.isfinite(values)]
        enough = len(known) > permutations / 2
        found[f"{name}_chance"] = float(known.mean()) if enough else float("nan")
        found[f"{name}_chance_high"] = float(np.percentile(known, 97.5)) if enough else float("nan")
    return found


def split_half_reliability(
    training: Float[Tensor, "knees features"],
    kl: Int[Tensor, " knees"],
    oa: Int[Tensor, " knees"] | None,
    subjects: Sequence[str],
    held_out: Float[Tensor, "others features"],
    *,
    kind: str | AxisDirection = "pca",
    splits: int = 10,
    seed: int = 0,
) -> float:
    """How far axes that are fitted on either half of the training subjects order the held-out knees alike.

    The mean over random splits of the correlation of both projections: 1 for an axis that does not depend
    on who trained it. It compares numbers on knees, so it does not depend on the width of the embedding.
    NaN for fewer than four subjects or held-out knees, or where no axis is defined.
    """
    names = np.unique(np.asarray(subjects))
    if len(names) < 4 or len(held_out) < 4:
        return float("nan")
    generator, found = np.random.default_rng(seed), []
    for _ in range(splits):
        first = np.isin(np.asarray(subjects), generator.permutation(names)[: len(names) // 2])
        halves = (torch.from_numpy(first), torch.from_numpy(~first))
        places = []
        for half in halves:
            fit = fit_severity_axis(training[half], kl[half], None if oa is None else oa[half], kind=kind)
            places.append(fit.project(held_out).numpy())
        if np.isfinite(places).all() and all(np.ptp(place) > 0 for place in places):
            found.append(np.corrcoef(places[0], places[1])[0, 1])
    return float(np.mean(found)) if found else float("nan")
