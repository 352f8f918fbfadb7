"""Table of the similarity of embeddings between seeds, and between the levels that are compared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from oahier.latent.similarity import cka_of_products, inner_products
from oahier.study.axis_tables import Embedded
from oahier.study.pairs import conditions, pairs
from oahier.study.results import Study

GROUPS = 50
"""Groups of subjects that are left out in turn, where there are more subjects."""

Array = npt.NDArray[Any]


def similarity_rows(study: Study, embedded: Mapping[str, Embedded]) -> list[dict[str, Any]]:
    """Mean debiased linear CKA of the test knees over pairs of cells, with a row for each kind of pair.

    ``between`` is the axis in which the two cells differ: that of the replicates (within one condition), or
    the compared one (every cell of one level with every cell of the other). The interval is that of the
    jackknife over subjects: of these trained models, not of the recipe.

    Args:
        study: the study.
        embedded: test embeddings by cell.
    """
    products = {name: inner_products(one.embedding.numpy()) for name, one in embedded.items()}
    return [
        {**levels, "between": between, "a": a, "b": b, **_row(embedded, products, compared)}
        for levels, between, a, b, compared in _pairs(study)
        if all(name in embedded for pair in compared for name in pair)
        and len({tuple(embedded[name].knee) for pair in compared for name in pair}) == 1
    ]


def _pairs(study: Study) -> Iterator[tuple[dict[str, str], str, str, str, list[tuple[str, str]]]]:
    """Levels of the other axes, what differs, both sides, and the pairs of cells."""
    for condition in conditions(study):
        names = [cell.name for cell in condition.cells.values()]
        if len(names) > 1:
            levels = dict(condition.levels)
            level = levels.pop(study.contrast, "")
            yield levels, study.replicate, level, level, list(itertools.combinations(names, 2))
    for pair in pairs(study):
        compared = [(one.name, other.name) for one in pair.a for other in pair.b]
        yield dict(pair.levels), study.contrast, pair.model_a, pair.model_b, compared


def _row(
    embedded: Mapping[str, Embedded], products: Mapping[str, Array], compared: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    subjects = np.asarray(embedded[compared[0][0]].subject, dtype=str)
    names, index = np.unique(subjects, return_inverse=True)
    units = min(len(names), GROUPS)
    unit = np.random.default_rng(0).permutation(np.arange(len(names)) % units)[index]

    def mean(rows: Array) -> float:
        kept = np.ix_(rows, rows)
        return float(np.mean([cka_of_products(products[a][kept], products[b][kept]) for a, b in compared]))

    value = mean(np.arange(len(subjects)))
    without = np.array([mean(np.flatnonzero(unit != left)) for left in range(units)])
    reach = float("nan")
    if units > 1:
        error = float(np.sqrt((units - 1) / units * ((without - without.mean()) ** 2).sum()))
        reach = float(t.ppf(0.975, units - 1)) * error
    return {
        "cka": value, "ci_low": value - reach, "ci_high": min(value + reach, 1.0), "pairs": len(compared),
        "knees": len(subjects), "subjects": len(names),
    }  # fmt: skip
