"""Knees whose geometry, intensities or label volumes are unlike those of the others."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float64

from oahier.audit.findings import LABEL_NAMES, finding, named, numbers_of, volumes_of
from oahier.problems import Problem
from oahier.types import CARTILAGE_LABELS

FEWEST = 8
"""Knees from which on one can be unlike the others."""
LARGEST = 5.0
"""Robust z-score of an outlier."""

_AXES = ("right", "anterior", "superior")
_NAMES = {
    "mean": "mean", "sd": "standard deviation", "p01": "1st percentile", "p99": "99th percentile",
    "zeros": "share of zeros", "saturated": "share of voxels at the maximum",
}  # fmt: skip
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


def _impossible(read: pd.DataFrame) -> Iterator[Problem]:
    """Geometry that no knee has, whatever the others are."""
    for index, facts in read["facts"].items():
        extent = facts["extent"]
        if min(extent) < _VIEW[0] or max(extent) > _VIEW[1]:
            sizes = " x ".join(f"{length:g}" for length in extent)
            message = f"field of view of {sizes} mm: is the voxel size in millimetres?"
            yield finding(read, index, "mri", message, "geometry")
        if facts["oblique"] > _OBLIQUE:
            message = (
                f"slices are turned by {facts['oblique']:g} degrees from the axes of the body: which axis is "
                "which becomes doubtful; resample the image"
            )
            yield finding(read, index, "mri", message, "orientation")


def _slices(read: pd.DataFrame) -> Iterator[Problem]:
    """Slices without content or stored twice; where many volumes are so, it is their kind."""
    strange: dict[Hashable, list[str]] = {}
    for index, facts in read["facts"].items():
        inner = [f"{count[1]} along {_AXES[axis]}" for axis, count in enumerate(facts["flat"]) if count[1]]
        if inner:
            strange[index] = [f"constant slices between others ({', '.join(inner)})"]
        if facts["repeated"]:
            text = f"sagittal slices equal to their neighbour ({facts['repeated']})"
            strange.setdefault(index, []).append(text)
    end = "; is the image complete?"
    yield from _told(read, strange, ("", end), "have empty or repeated slices")


def _told(
    read: pd.DataFrame, strange: dict[Hashable, list[str]], around: tuple[str, str], summary: str
) -> Iterator[Problem]:
    """A warning for each strange knee, or one note if they are too many to be exceptions."""
    if len(strange) >= FEWEST and len(strange) > _MANY * len(read):
        first = sorted(strange, key=lambda index: (-len(strange[index]), read.index.get_loc(index)))[:3]
        message = (
            f"{len(strange)} of {len(read)} volumes {summary}, such as {named(read, first)} "
            f"({', '.join(strange[first[0]])}): several scanners, sequences or sources?"
        )
        yield Problem(message, column="mri", severity="note", kind="intensity")
        return
    for index in read.index[read.index.isin(list(strange))]:
        message = around[0] + ", ".join(strange[index]) + around[1]
        yield finding(read, index, "mri", message, "intensity")


def _geometry(read: pd.DataFrame) -> Iterator[Problem]:
    """Spacing off by more than about a tenth, field of view by more than a sixth."""
    strange: dict[Hashable, list[str]] = {}
    for name, words, share in (("spacing", "voxels", 0.02), ("extent", "field of view", 0.03)):
        values = np.array([facts[name] for facts in read["facts"]], dtype=np.float64)
        for axis, lengths in enumerate(values.T):
            middle = float(np.median(lengths))
            for place in np.flatnonzero(np.abs(robust_z(lengths, share * middle)) > LARGEST):
                text = f"{words} {lengths[place]:g} mm along {_AXES[axis]} (median {middle:g})"
                strange.setdefault(read.index[int(place)], []).append(text)
    together: dict[str, list[Hashable]] = {}
    for index in read.index[read.index.isin(list(strange))]:
        together.setdefault(", ".join(strange[index]), []).append(index)
    for text, indices in together.items():
        if len(indices) == 1:
            yield finding(read, indices[0], "mri", f"unlike the other knees: {text}", "geometry")
            continue
        names = named(read, indices[:3])
        message = f"{len(indices)} of {len(read)} volumes, such as {names}, are unlike the others: {text}"
        yield Problem(message, column="mri", severity="warning", kind="geometry")


def _axes(read: pd.DataFrame) -> Iterator[Problem]:
    """The rarer axis orders; reading reorients them, so that it is only good to know."""
    axes = read["facts"].map(lambda facts: facts["axes"])
    counts = axes.value_counts()
    for code, count in counts.iloc[1:].items():
        message = (
            f"{count} of {len(read)} volumes have axes {code}, most have {counts.index[0]}; they are "
            "reoriented when read, but look at their pictures"
        )
        yield finding(read, axes.index[axes == code][0], "mri", message, "orientation", "note")


def _intensities(read: pd.DataFrame) -> Iterator[Problem]:
    """Level, spread, zeros and saturation, against the spread that knees usually have."""
    spread = float(np.median(numbers_of(read, "sd")))
    strange: dict[Hashable, list[str]] = {}
    for name, words in _NAMES.items():
        values = numbers_of(read, name)
        floor = 0.02 if name == "zeros" else 0.002 if name == "saturated" else 0.1 * spread
        scores = robust_z(values, floor)
        middle = float(np.median(values))
        for place in np.flatnonzero(np.abs(scores) > LARGEST):
            if name == "saturated" and scores[place] < 0:
                continue
            text = f"{words} {_number(name, values[place])} (median {_number(name, middle)})"
            strange.setdefault(read.index[int(place)], []).append(text)
    start, summary = "intensities unlike the other knees: ", "have intensities unlike those of the others"
    yield from _told(read, strange, (start, ""), summary)


def _levels(read: pd.DataFrame) -> Iterator[Problem]:
    """Cartilage darker or brighter than it usually is: its map is moved, or that of another image."""
    level = numbers_of(read, "level")
    if np.isfinite(level).sum() < FEWEST:
        return
    middle = float(np.nanmedian(level))
    strange = (np.abs(robust_z(level, 0.04)) > _LEVEL) | (level < _DARK * middle)
    for place in np.flatnonzero(strange):
        message = (
            f"cartilage at {level[place]:.0%} of the intensity range, at {middle:.0%} in the other knees: is "
            "the label map that of this image?"
        )
        yield finding(read, read.index[int(place)], "cartilage", message, "label map")


def _volumes(read: pd.DataFrame) -> Iterator[Problem]:
    """Cartilage volumes, on a scale of ratios."""
    volumes = {label: volumes_of(read, label) for label in CARTILAGE_LABELS}
    some = np.isfinite(list(volumes.values())).any(axis=0)
    for label, found in volumes.items():
        if np.isfinite(found).sum() < FEWEST:
            continue
        words, middle = LABEL_NAMES[label], float(np.nanmedian(found))
        for place in np.flatnonzero(np.abs(robust_z(np.log(np.maximum(found, 1e-6)), 0.15)) > LARGEST):
            message = f"{words} of {found[place]:.2g} ml, unlike the other knees (median {middle:.2g} ml)"
            yield finding(read, read.index[int(place)], "cartilage", message, "label map")
        for index in read.index[some & np.isnan(found)]:
            message = f"no {words} (label {label}), which the other label maps have: worn away, or missing"
            yield finding(read, index, "cartilage", message, "label map", "note")


def _number(name: str, value: float) -> str:
    return f"{value:.1%}" if name in ("zeros", "saturated") else f"{value:.4g}"
