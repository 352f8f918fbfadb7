"""All tables of a study, from the files of its cells."""

from __future__ import annotations

import json
from pathlib import Path

from oahier.files import write_atomically
from oahier.statistics.correction import Correction
from oahier.study.axis_tables import AxisTables
from oahier.study.pairs import comparison_rows, write_table
from oahier.study.prediction_tables import cell_rows, comparisons, headline_rows
from oahier.study.results import Study
from oahier.study.saliency_tables import saliency_comparisons, saliency_rows


def write_tables(
    study: Study, *, resamples: int = 10_000, seed: int = 42, correction: Correction = "bh"
) -> Path:
    """Write ``DIR/tables/*.csv``; nothing is trained and no model is read.

    The comparisons of predictions, of axes and of saliency are one family of tests each. ``statistics.json``
    beside them holds these settings.

    Args:
        study: a study with at least one finished cell.
        resamples: bootstrap resamples of subjects (and seeds).
        seed: of the resampling.
        correction: over each family, ``"bh"`` (Benjamini-Hochberg) or ``"holm"``.

    Returns:
        The folder.

    Raises:
        ValueError: files of cells that do not fit each other.
    """
    folder = study.folder / "tables"
    axes = AxisTables(study)
    axes.write_projections()
    named = {
        "cells": cell_rows(study),
        "headline": headline_rows(study, resamples, seed),
        "comparisons": comparison_rows(comparisons(study, resamples, seed), correction),
        "axis": axes.rows(),
        "axis_comparisons": comparison_rows(
            axes.comparisons(resamples, seed), correction, ("kind", "metric")
        ),
        "saliency": saliency_rows(study, resamples, seed),
        "saliency_comparisons": comparison_rows(
            saliency_comparisons(study, resamples, seed), correction, ("method", "measure")
        ),
    }
    for name, rows in named.items():
        write_table(folder / f"{name}.csv", rows)
    settings = {"resamples": resamples, "seed": seed, "correction": correction}
    write_atomically(folder / "statistics.json", json.dumps(settings) + "\n")
    return folder
