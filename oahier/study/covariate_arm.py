"""An arm without a network: a logistic model of thickness, volume, age and BMI, on the folds of others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from oahier.data import read_manifest
from oahier.files import write_json
from oahier.hierarchy import DEFAULT_HIERARCHY, FINE
from oahier.metrics.weighted import Floats
from oahier.study import definitive
from oahier.study.cell_files import predictions_of
from oahier.study.cells import Cell, write_cell
from oahier.study.folds import (
    finish_pooled_cell,
    folds,
    join,
    text_table,
)
from oahier.study.results import Study, read_study
from oahier.types import MISSING

_MEASURED = re.compile(r"thickness|volume|(^|_)(age|bmi)(_|$)", re.IGNORECASE)


def with_covariate_arm(study: Study, pooled: Study) -> Study:
    """The pooled study with one more arm, where its manifest has columns for it; else as it is.

    For each seed of the first dose, the folds of the first arm that has finished them are taken: training
    knees fit the model (:func:`grade_probabilities`), test knees are predicted.
    """
    group = {axis: levels[0] for axis, levels in study.factors.items() if axis == "dose"}
    names: list[str] = []
    made = set()
    for cells in folds(study).values():
        factors = {axis: cells[0].factors[axis] for axis in pooled.factors}
        factors[study.contrast] = definitive.WITHOUT_NETWORK
        name = "_".join(factors.values())
        if name in made or any(factors[axis] != level for axis, level in group.items()):
            continue
        if any(cell.state != "finished" or _relabelled(cell) for cell in cells):
            continue
        table = read_manifest(cells[0].config["data"]["manifest"]).table.set_index("knee")
        names = measured(table)
        if not names:
            return pooled
        made.add(name)
        folder = pooled.folder / "cells" / name
        config = {**cells[0].config, "model": {**cells[0].config["model"], "probes": []}}
        config["model"]["heads"] = {FINE: config["model"]["heads"][FINE]}
        write_cell(folder, name, factors, cells[0].settings, config)
        predicted = join([_fold(cell, table[names]) for cell in cells], name)
        finish_pooled_cell(folder, predicted, {"network": False, "columns": names})
    if not made:
        return pooled
    levels: dict[str, Any] = {axis: list(found) for axis, found in pooled.factors.items()}
    levels[study.contrast] = [*levels[study.contrast], definitive.WITHOUT_NETWORK]
    write_json(pooled.folder / "study.json", {**pooled.facts, "factors": levels, "measured": names})
    return read_study(pooled.folder)


def measured(table: pd.DataFrame) -> list[str]:
    """Columns of numbers whose names say thickness, volume, age or BMI.

    >>> measured(pd.DataFrame({"age": [50.0, 60.0], "site": [1, 2], "mean_thickness_mm": [2.1, 1.9]}))
    ['age', 'mean_thickness_mm']
    """
    named = [str(name) for name in table if _MEASURED.search(str(name))]
    return [name for name in named if table[name].dtype.kind in "fi" and table[name].nunique() > 1]


def grade_probabilities(training: Floats, grades: Sequence[int], test: Floats) -> Floats:
    """``(test knees, grades)`` of a multinomial logistic model (scikit-learn, ridge penalty 1).

    Columns are standardised, and unknown values are the median, by the training knees.

    Args:
        training: ``(knees, columns)``, NaN where unknown.
        grades: of the training knees, two different ones at least.
        test: ``(knees, columns)``.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(),
        LogisticRegression(max_iter=2000),
    ).fit(training, np.asarray(grades))  # fmt: skip
    made = np.zeros((len(test), DEFAULT_HIERARCHY.num_classes(FINE)))
    made[:, model.classes_.astype(int)] = model.predict_proba(test)
    return made


def _relabelled(cell: Cell) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = cell.config["data"].get("relabel")
    return found


def _fold(cell: Cell, table: pd.DataFrame) -> pd.DataFrame:
    training, test = predictions_of(cell.folder / "train"), text_table(cell)
    labels = training.labels[FINE]
    known = labels != MISSING
    values = table.to_numpy(dtype=np.float64)
    rows = {knee: row for row, knee in enumerate(table.index)}
    chosen = [rows[knee] for knee in training.knee[known].tolist()]
    tested = [rows[knee] for knee in test["knee"]]
    p = grade_probabilities(values[chosen], labels[known].tolist(), values[tested])
    kept = test[[name for name in test if name in ("knee", "subject") or str(name).startswith("label_")]]
    columns = {f"prob_{FINE}_{grade}": p[:, grade] for grade in range(p.shape[1])}
    return kept.assign(**columns)
