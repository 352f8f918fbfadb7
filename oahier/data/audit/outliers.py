"""Knees whose geometry, intensities or label volumes are unlike those of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from oahier.data.problems import Problem, Severity
from oahier.data.table import row_number

FEWEST = 8
"""Knees from which on one can be unlike the others."""
LARGEST = 5.0
"""Robust z-score of an outlier."""

_AXES = ("right", "anterior", "superior")
_NAMES = {
    "mean": "mean", "sd": "standard deviation", "p01": "1st percentile", "p99": "99th percentile",
    "zeros": "share of zeros", "saturated": "share of voxels at the maximum",
}  # fmt: skip
_LABELS = {"2": "femoral cartilage", "4": "medial tibial cartilage", "5": "lateral tibial cartilage"}
_VIEW = (10.0, 1000.0)
"""Millimetres that a knee's field of view can have."""
_OBLIQUE = 30.0


def robust_z(values: Float64[np.ndarray, " knees"], floor: float) -> Float64[np.ndarray, " knees"]:
    """Distance from the median in standard deviations, estimated from the median absolute deviation.

    Args:
        values: NaN where unknown.
        floor: the least that counts as a standard deviation, in the unit of the values: where all knees but
            one are alike, the deviation is 0.

    >>> robust_z(np.array([1.0, 1.1, 0.9, 1.0, 3.0]), floor=0.1).round(1).tolist()
    [0.0, 0.7, -0.7, 0.0, 13.5]
    """
    if not np.isfinite(values).any():
        return np.full(len(values), np.nan)
    off = values - np.nanmedian(values)
    scale = max(1.4826 * float(np.nanmedian(np.abs(off))), floor)
    return np.asarray(off / scale) if scale > 0 else np.zeros(len(values))


def outlier_problems(knees: pd.DataFrame) -> Iterator[Problem]:
    """Everything that is unusual among the knees; nothing can be with fewer than :data:`FEWEST`.

    Args:
        knees: the manifest's table with a column ``facts``, an empty dictionary where a knee was not read.
    """
    read = knees[knees["facts"].map(bool)]
    yield from _impossible(read)
    if len(read) < FEWEST:
        return
    yield from _geometry(read)
    yield from _axes(read)
    yield from _intensities(read)
    yield from _volumes(read)


def _problem(
    knees: pd.DataFrame, place: int, column: str, message: str, kind: str, severity: Severity
) -> Problem:
    index, knee = knees.index[place], str(knees["knee"].iloc[place])
    return Problem(message, row_number(index), knee, column, severity, kind)


def _impossible(read: pd.DataFrame) -> Iterator[Problem]:
    """What no knee looks like, whatever the others are."""
    for place, facts in enumerate(read["facts"]):
        extent = facts["extent"]
        if min(extent) < _VIEW[0] or max(extent) > _VIEW[1]:
            message = f"field of view of {_by(extent)} mm: is the voxel size in millimetres?"
            yield _problem(read, place, "mri", message, "geometry", "warning")
        if facts["oblique"] > _OBLIQUE:
            message = (
                f"slices are turned by {facts['oblique']:g} degrees from the axes of the body: which axis is "
                "which becomes doubtful; resample the image"
            )
            yield _problem(read, place, "mri", message, "orientation", "warning")
        inner = [f"{count[1]} along {_AXES[axis]}" for axis, count in enumerate(facts["flat"]) if count[1]]
        if inner:
            message = f"constant slices between others ({', '.join(inner)}): is the image complete?"
            yield _problem(read, place, "mri", message, "intensity", "warning")
        if facts["repeated"]:
            message = f"{facts['repeated']} sagittal slices equal their neighbour: was a slice stored twice?"
            yield _problem(read, place, "mri", message, "intensity", "warning")


def _geometry(read: pd.DataFrame) -> Iterator[Problem]:
    """Spacing off by more than about a tenth, field of view by more than a sixth."""
    strange: dict[int, list[str]] = {}
    for name, share, unit in (("spacing", 0.02, "mm"), ("extent", 0.03, "mm")):
        values = np.array(read["facts"].map(lambda facts, key=name: facts[key]).tolist(), dtype=np.float64)
        words = "voxels" if name == "spacing" else "field of view"
        for axis in range(3):
            middle = float(np.median(values[:, axis]))
            scores = robust_z(values[:, axis], share * middle)
            for place in np.flatnonzero(np.abs(scores) > LARGEST):
                text = f"{words} {values[place, axis]:g} {unit} along {_AXES[axis]} (median {middle:g})"
                strange.setdefault(int(place), []).append(text)
    for place, texts in sorted(strange.items()):
        yield _problem(
            read, place, "mri", "unlike the other knees: " + ", ".join(texts), "geometry", "warning"
        )


def _axes(read: pd.DataFrame) -> Iterator[Problem]:
    """The rarer axis orders; reading turns them, so that it is only good to know."""
    axes = read["facts"].map(lambda facts: facts["axes"])
    counts = axes.value_counts()
    for code, count in counts.iloc[1:].items():
        place = int(np.flatnonzero(axes == code)[0])
        message = (
            f"{count} of {len(read)} volumes have axes {code}, most have {counts.index[0]}; they are turned "
            "when read, but look at their pictures"
        )
        yield _problem(read, place, "mri", message, "orientation", "note")


def _intensities(read: pd.DataFrame) -> Iterator[Problem]:
    """Level, spread, zeros and saturation, against the spread that knees usually have."""
    values = {
        name: read["facts"].map(lambda facts, key=name: facts[key]).to_numpy(np.float64) for name in _NAMES
    }
    spread = float(np.median(values["sd"]))
    strange: dict[int, list[str]] = {}
    for name, words in _NAMES.items():
        floor = 0.02 if name == "zeros" else 0.002 if name == "saturated" else 0.1 * spread
        scores = robust_z(values[name], floor)
        middle = float(np.median(values[name]))
        for place in np.flatnonzero(np.abs(scores) > LARGEST):
            if name == "saturated" and scores[place] < 0:
                continue
            text = f"{words} {_number(name, values[name][place])} (median {_number(name, middle)})"
            strange.setdefault(int(place), []).append(text)
    for place, texts in sorted(strange.items()):
        message = "intensities unlike the other knees: " + ", ".join(texts)
        yield _problem(read, place, "mri", message, "intensity", "warning")


def _volumes(read: pd.DataFrame) -> Iterator[Problem]:
    """Cartilage volumes, on a scale of ratios."""
    volumes = read["facts"].map(lambda facts: facts.get("volume", {}))
    for label, words in _LABELS.items():
        found = volumes.map(lambda volume, key=label: volume.get(key, float("nan"))).to_numpy(np.float64)
        if np.isfinite(found).sum() < FEWEST:
            continue
        middle = float(np.nanmedian(found))
        for place in np.flatnonzero(np.abs(robust_z(np.log(found), 0.15)) > LARGEST):
            message = f"{words} of {found[place]:.2g} ml, unlike the other knees (median {middle:.2g} ml)"
            yield _problem(read, int(place), "cartilage", message, "label map", "warning")
        lacking = volumes.map(lambda volume, key=label: bool(volume) and key not in volume).to_numpy()
        for place in np.flatnonzero(lacking):
            message = f"no {words} (label {label}), which the other label maps have"
            yield _problem(read, int(place), "cartilage", message, "label map", "warning")


def _number(name: str, value: float) -> str:
    return f"{value:.1%}" if name in ("zeros", "saturated") else f"{value:.4g}"


def _by(values: Mapping[int, Any] | list[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
