"""The training knees along the severity axis, grade by grade, with a new knee among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.latent.training_knees import EmbeddingReference
from oahier.prediction.one_knee import Row
from oahier.types import MISSING

_ACROSS = np.linspace(0, 100, 81)
_FEW = 8
"""Knees up to which they are drawn one by one."""
_HEIGHT = 20.0


def axis_view(reference: EmbeddingReference | None, row: Row) -> dict[str, Any] | None:
    """Densities of the training knees by grade as paths in a box of 100 x 20, and where the knee is.

    Returns:
        ``None`` without a reference, or where the axis is undefined.
    """
    if reference is None or row["axis"] is None:
        return None
    groups = _groups(reference)
    values = np.concatenate(list(groups.values()))
    here = float(str(row["axis"]))
    margin = 0.08 * max(float(np.ptp(values)), 1e-9)
    low, high = float(values.min()) - margin, float(values.max()) + margin
    room = 0.6 * (high - low)  # a knee that is further off is drawn at the border
    low, high = min(low, max(here - margin, low - room)), max(high, min(here + margin, high + room))
    place = float(np.clip((here - low) / (high - low), 0.0, 1.0))
    off = not low <= here <= high
    rows = [_row(name, group, low, high) for name, group in groups.items()]
    words = "this knee, off the scale" if off else "this knee"
    return {
        "rows": rows,
        "here": round(100 * place, 2),
        "anchor": "from-left" if place < 0.2 else "from-right" if place > 0.8 else "",
        "label": f"{words} ({here:.1f})" if off else words,
        "alt": f"Training knees along the severity axis; this knee at {100 * place:.0f} % of its width",
    }


def _groups(reference: EmbeddingReference) -> dict[str, npt.NDArray[np.float64]]:
    grades = {f"KL {grade}": values.numpy() for grade, values in reference.grade_projections().items()}
    if grades:
        return grades
    known = {f"OA {label}": reference.projection[reference.oa == label].numpy() for label in (0, 1)}
    known["no label"] = reference.projection[reference.oa == MISSING].numpy()
    return {name: values for name, values in known.items() if len(values)}


def _row(name: str, values: npt.NDArray[np.float64], low: float, high: float) -> dict[str, Any]:
    places = 100 * (values - low) / (high - low)
    if len(values) <= _FEW or float(np.ptp(places)) < 1e-6:
        lines = "".join(f"M{place:.2f} {_HEIGHT:.0f}V6" for place in places)
        return {"name": name, "count": len(values), "kind": "rug", "path": lines}
    density = _density(places)
    top = 0.92 * _HEIGHT * density / density.max()
    points = "".join(f"L{x:.2f} {_HEIGHT - y:.2f}" for x, y in zip(_ACROSS, top, strict=True))
    outline = f"M0 {_HEIGHT:.0f}{points}L100 {_HEIGHT:.0f}Z"
    return {"name": name, "count": len(values), "kind": "area", "path": outline}


def _density(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gaussian kernels; bandwidth of Silverman (1986), at least two hundredths of the width."""
    from scipy.stats import gaussian_kde

    quartiles = np.percentile(places, (25, 75))
    spread = min(float(places.std()), float(quartiles[1] - quartiles[0]) / 1.34) or float(places.std())
    width = max(0.9 * spread * len(places) ** -0.2, 2.0)
    density: npt.NDArray[np.float64] = gaussian_kde(places, width / places.std(ddof=1))(_ACROSS)
    return density
