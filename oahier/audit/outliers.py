"""Knees whose geometry, intensities or label volumes are unlike those of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from oahier.data.manifest.columns import row_number
from oahier.problems import Problem, Severity

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
_LEVEL = 3.5
"""Robust z-score of an unusual intensity of cartilage (Iglewicz and Hoaglin, 1993)."""
_DARK = 0.4
"""Share of the usual intensity of cartilage below which it is not cartilage."""
_MANY = 0.2
"""Share of knees from which on the unusual is usual."""


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
    yield from _slices(read)
    if len(read) < FEWEST:
        return
    yield from _geometry(read)
    yield from _axes(read)
    yield from _intensities(read)
    yield from _levels(read)
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


def _slices(read: pd.DataFrame) -> Iterator[Problem]:
    """Slices without content or stored twice; where many volumes are so, it is their kind."""
    strange: dict[int, list[str]] = {}
    for place, facts in enumerate(read["facts"]):
        inner = [f"{count[1]} along {_AXES[axis]}" for axis, count in enumerate(facts["flat"]) if count[1]]
        if inner:
            strange[place] = [f"constant slices between others ({', '.join(inner)})"]
        if facts["repeated"]:
            text = f"sagittal slices equal to their neighbour ({facts['repeated']})"
            strange.setdefault(place, []).append(text)
    end = "; is the image complete?"
    yield from _told(read, strange, "intensity", ("", end), "have empty or repeated slices")


def _told(
    read: pd.DataFrame, strange: dict[int, list[str]], kind: str, around: tuple[str, str], summary: str
) -> Iterator[Problem]:
    """A warning for each strange knee, or one note if they are too many to be exceptions."""
    if len(strange) >= FEWEST and len(strange) > _MANY * len(read):
        first = sorted(strange, key=lambda place: -len(strange[place]))[:3]
        names = ", ".join(repr(str(read["knee"].iloc[place])) for place in first)
        message = (
            f"{len(strange)} of {len(read)} volumes {summary}, such as {names} "
            f"({', '.join(strange[first[0]])}): several scanners, sequences or sources?"
        )
        yield Problem(message, column="mri", severity="note", kind=kind)
        return
    for place, texts in sorted(strange.items()):
        yield _problem(read, place, "mri", around[0] + ", ".join(texts) + around[1], kind, "warning")


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
    together: dict[str, list[int]] = {}
    for where, texts in sorted(strange.items()):
        together.setdefault(", ".join(texts), []).append(where)
    for text, places in together.items():
        if len(places) == 1:
            yield _problem(read, places[0], "mri", f"unlike the other knees: {text}", "geometry", "warning")
            continue
        names = ", ".join(repr(str(read["knee"].iloc[place])) for place in places[:3])
        message = f"{len(places)} of {len(read)} volumes, such as {names}, are unlike the others: {text}"
        yield Problem(message, column="mri", severity="warning", kind="geometry")


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
    start, summary = "intensities unlike the other knees: ", "have intensities unlike those of the others"
    yield from _told(read, strange, "intensity", (start, ""), summary)


def _levels(read: pd.DataFrame) -> Iterator[Problem]:
    """Cartilage darker or brighter than it usually is: its map is moved, or that of another image."""
    level = read["facts"].map(lambda facts: facts.get("level", float("nan"))).to_numpy(np.float64)
    if np.isfinite(level).sum() < FEWEST:
        return
    middle = float(np.nanmedian(level))
    strange = (np.abs(robust_z(level, 0.04)) > _LEVEL) | (level < _DARK * middle)
    for place in np.flatnonzero(strange):
        message = (
            f"cartilage at {level[place]:.0%} of the intensity range, at {middle:.0%} in the other knees: is "
            "the label map that of this image?"
        )
        yield _problem(read, int(place), "cartilage", message, "label map", "warning")


def _volumes(read: pd.DataFrame) -> Iterator[Problem]:
    """Cartilage volumes, on a scale of ratios."""
    volumes = read["facts"].map(lambda facts: facts.get("volume", {}))
    for label, words in _LABELS.items():
        found = volumes.map(lambda volume, key=label: volume.get(key, float("nan"))).to_numpy(np.float64)
        if np.isfinite(found).sum() < FEWEST:
            continue
        middle = float(np.nanmedian(found))
        for place in np.flatnonzero(np.abs(robust_z(np.log(np.maximum(found, 1e-6)), 0.15)) > LARGEST):
            message = f"{words} of {found[place]:.2g} ml, unlike the other knees (median {middle:.2g} ml)"
            yield _problem(read, int(place), "cartilage", message, "label map", "warning")
        lacking = volumes.map(
            lambda volume, key=label: bool(_LABELS.keys() & volume) and key not in volume
        ).to_numpy()
        for place in np.flatnonzero(lacking):
            message = f"no {words} (label {label}), which the other label maps have: worn away, or missing"
            yield _problem(read, int(place), "cartilage", message, "label map", "note")


def _number(name: str, value: float) -> str:
    return f"{value:.1%}" if name in ("zeros", "saturated") else f"{value:.4g}"


def _by(values: Mapping[int, Any] | list[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
