"""Tables from the predictions of a study: every cell, every condition, every paired difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oahier.hierarchy import head_label
from oahier.statistics import (
    Comparison,
    compare_predictions,
    summarise_predictions,
)
from oahier.statistics.margins import Margins
from oahier.study.cell_files import predictions_of
from oahier.study.pairs import Condition, Pair, conditions, pairs, summary_row
from oahier.study.results import Study


def cell_rows(study: Study) -> list[dict[str, Any]]:
    """Every metric of every finished cell; one row without a metric for each other cell."""
    rows = []
    for cell in study.cells:
        about = {"cell": cell.name, **cell.factors, "state": cell.state}
        if cell.state != "finished":
            rows.append({**about, "task": "", "metric": "", "value": float("nan")})
            continue
        for found in summarise_predictions([predictions_of(cell.folder)], oa_from_kl=True):
            rows.append({**about, "task": found.task, "metric": found.metric, "value": found.value})
    return rows


def headline_rows(study: Study) -> list[dict[str, Any]]:
    """Every metric of every condition, with its interval over subjects and seeds."""
    return [row for condition in conditions(study) for row in _headline(condition)]


def _headline(condition: Condition) -> list[dict[str, Any]]:
    models = [predictions_of(cell.folder) for cell in condition.cells.values()]
    found = summarise_predictions(models, oa_from_kl=True)
    probes = {head_label(head) for head in condition.probes}
    return [{**summary_row(condition, row), "probe": row.task in probes} for row in found]


def comparisons(study: Study, margins: Margins) -> Iterator[tuple[Pair, Comparison]]:
    """Paired differences between the levels of the contrast, seed by seed; see :func:`.pairs`."""
    for pair in pairs(study):
        sides = ([predictions_of(cell.folder) for cell in cells] for cells in (pair.a, pair.b))
        for row in compare_predictions(*sides, oa_from_kl=True, paired_seeds=True, margins=margins):
            yield pair, row
