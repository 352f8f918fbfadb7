"""Findings about knees of a table, and the facts that they follow from."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import pandas as pd
from jaxtyping import Float64

from oahier.data.manifest.columns import row_number
from oahier.problems import Problem, Severity

LABEL_NAMES = {
    1: "femur", 2: "femoral cartilage", 3: "tibia", 4: "medial tibial cartilage",
    5: "lateral tibial cartilage",
}  # fmt: skip


def finding(
    knees: pd.DataFrame, index: Hashable, column: str, message: str, kind: str, severity: Severity = "warning"
) -> Problem:
    """A finding about one knee of the manifest's table.

    Args:
        knees: the table.
        index: of the knee in the table.
        column: that it is about.
        message: what was expected and what came.
        kind: group of findings, such as ``"leakage"``.
        severity: ``"error"``, ``"warning"`` or ``"note"``.
    """
    return Problem(message, row_number(index), str(knees.at[index, "knee"]), column, severity, kind)


def numbers_of(knees: pd.DataFrame, name: str) -> Float64[np.ndarray, " knees"]:
    """A number among the facts of each knee, NaN where it is not known."""
    return knees["facts"].map(lambda facts: facts.get(name, float("nan"))).to_numpy(np.float64)


def volumes_of(knees: pd.DataFrame, label: int) -> Float64[np.ndarray, " knees"]:
    """Volume (ml) of a label in each knee, NaN where its map lacks it or there is none."""
    volumes = knees["facts"].map(lambda facts: facts.get("volume", {}).get(str(label), float("nan")))
    return volumes.to_numpy(np.float64)


def named(knees: pd.DataFrame, indices: Iterable[Hashable]) -> str:
    """Names of knees in words."""
    return ", ".join(repr(str(knees.at[index, "knee"])) for index in indices)
