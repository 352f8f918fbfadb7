"""All tables of a study, from the files of its cells."""

from __future__ import annotations

import json
from pathlib import Path

from oahier.files import write_atomically
from oahier.statistics.correction import Correction
from oahier.statistics.margins import NO_MARGINS, Margins
from oahier.study.axis_columns import NO_COLUMNS, AxisColumns
from oahier.study.axis_tables import AxisTables
from oahier.study.change_tables import ChangeTables
from oahier.study.pairs import comparison_rows, write_table
from oahier.study.prediction_tables import cell_rows, comparisons, headline_rows
from oahier.study.primary import primary_rows
from oahier.study.results import Study
from oahier.study.saliency_tables import saliency_comparisons, saliency_rows
from oahier.study.similarity_table import similarity_rows


def write_tables(
    study: Study, *, correction: Correction = "bh", margins: Margins = NO_MARGINS,
    columns: AxisColumns = NO_COLUMNS,
) -> Path:  # fmt: skip
    """Write ``DIR/tables/*.csv``; nothing is trained and no model is read.

    The comparisons of predictions, of axes, of change over visits and of saliency are one family of tests
    each. ``statistics.json`` beside them holds these settings.

    Args:
        study: a study with at least one finished cell; one with folds pooled (:mod:`oahier.study.folds`).
        correction: over each family, ``"bh"`` (Benjamini-Hochberg) or ``"holm"``.
        margins: largest difference of each metric that does not matter.
        columns: of a manifest, to compare severity axes with.

    Returns:
        The folder.

    Raises:
        ManifestError: a manifest without the named columns.
        ValueError: files of cells that do not fit each other.
    """
    folder = study.folder / "tables"
    axes = None if "folds" in study.facts else AxisTables(study, columns)  # each fold has its own
    if axes is not None:
        axes.write_projections()
    change = ChangeTables(study, axes)
    change.write_visits()
    named = {
        "cells": cell_rows(study),
        "headline": headline_rows(study),
        "comparisons": comparison_rows(comparisons(study, margins), correction),
        "primary_comparisons": primary_rows(study, margins) if "primary" in study.facts else [],
        "axis": [] if axes is None else axes.rows(),
        "axis_order": [] if axes is None else axes.orders(),
        "similarity": [] if axes is None else similarity_rows(study, axes.test),
        "axis_comparisons": []
        if axes is None
        else comparison_rows(axes.comparisons(), correction, ("kind", "metric")),
        "change": change.rows(),
        "change_comparisons": comparison_rows(change.comparisons(), correction, ("score", "metric")),
        "saliency": saliency_rows(study),
        "saliency_comparisons": comparison_rows(
            saliency_comparisons(study), correction, ("method", "measure")
        ),
    }
    for name, rows in named.items():
        write_table(folder / f"{name}.csv", rows)
    settings = {"correction": correction, "margins": dict(margins)}
    write_atomically(folder / "statistics.json", json.dumps(settings) + "\n")
    return folder
