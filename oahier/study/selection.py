"""Checks of what a study selects: monitor, saliency, decision rule, covariate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oahier.metrics import Decoding
from oahier.saliency import METHODS
from oahier.specs import SpecError, build, is_spec
from oahier.study.overrides import PlanError


def check_selection(path: Path, selection: Mapping[str, Any]) -> None:
    """Check the entries of a study file that are neither base nor grid.

    Raises:
        PlanError: one that cannot be used; the message names the file and the entry.
    """
    if selection.get("mode", "max") not in ("min", "max"):
        raise PlanError(f"{path}: mode: expected 'min' or 'max', got {selection['mode']!r}")
    saliency = selection.get("saliency", [])
    if not isinstance(saliency, list) or not all(isinstance(item, str) for item in saliency):
        raise PlanError(f"{path}: saliency: expected a list of methods, got {saliency!r}")
    unknown = sorted(set(saliency) - set(METHODS))
    if unknown:
        raise PlanError(f"{path}: saliency: expected methods among {', '.join(METHODS)}, got {unknown[0]!r}")
    knees = selection.get("knees", 0)
    if not isinstance(knees, int) or knees < 0:
        raise PlanError(f"{path}: knees: expected a whole number from 0, got {knees!r}")
    if not isinstance(selection.get("covariate", ""), str):
        raise PlanError(f"{path}: covariate: expected a column's name, got {selection['covariate']!r}")
    decoding = selection.get("decoding")
    if decoding is not None and not is_spec(decoding):
        raise PlanError(
            f"{path}: decoding: expected {{class_path: oahier.metrics.WeightedMedian}} or another rule, "
            f"got {decoding!r}"
        )
    try:
        decoding is None or build(decoding, Decoding)
    except (SpecError, ValueError, TypeError) as error:
        raise PlanError(f"{path}: decoding: {error}") from None
