"""Facts of the files of one knee: geometry, intensities, label map, and findings about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from oahier.audit.edges import edge_contrast
from oahier.audit.thumbnail import knee_picture
from oahier.images import Grid
from oahier.images.knee import Finding, KneeImages, read_knee
from oahier.types import CARTILAGE_LABELS

VERSION = 3
"""Raised when the same files give other facts."""

_SAMPLE = 2_000_000
"""Voxels that percentiles are taken from."""
_RESOLVED = 6.0
"""Millimetres per voxel, in the plane of the slices, up to which cartilage has edges of its own: phantoms of
5 mm and less have 1.5 and more, of 8 mm 1.1."""
_DARK = 0.02
"""Share of the intensity range (minimum to 99th percentile) that is background."""


@dataclass(frozen=True)
class KneeFacts:
    """Findings and facts of a knee; ``facts`` is empty where the volume cannot be read.

    Facts are plain numbers, lists and texts, named as in :func:`measure`.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"findings": [asdict(finding) for finding in self.findings], "facts": dict(self.facts)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> KneeFacts:
        """The inverse of :meth:`as_dict`."""
        return cls(tuple(Finding(**finding) for finding in record["findings"]), record["facts"])


def examine(mri: Path, cartilage: Path | None) -> tuple[KneeFacts, bytes]:
    """Read the files of a knee and measure them.

    Returns:
        the facts, and a picture (JPEG; empty where the volume cannot be read).
    """
    try:
        images, findings = read_knee(mri, cartilage)
        if images is None and not any(f.column == "mri" and f.severity == "error" for f in findings):
            images, _ = read_knee(mri, None)  # only the label map is unusable
        if images is None:
            return KneeFacts(tuple(findings), {}), b""
        findings += [Finding("mri", f"{mri}: {note}", "warning") for note in images.mri.notes]
        return KneeFacts(tuple(findings), measure(images)), knee_picture(images)
    except Exception as error:  # one file must not hide what is wrong with the others
        message = f"{mri}: cannot be examined: {type(error).__name__}: {error}"
        return KneeFacts((Finding("mri", message),), {}), b""


def measure(images: KneeImages) -> dict[str, Any]:
    """Facts of a knee.

    ``shape``, ``spacing``, ``extent`` (along right, anterior, superior; mm), ``axes`` of the file (such as
    RIP) and ``oblique`` (degrees); ``content`` and ``mirrored`` (hashes of the voxels as they are, mirrored);
    intensities (``mean``, ``sd``, ``p01``, ``p50``, ``p99``; shares ``zeros``, ``lowest``, ``saturated``);
    ``flat`` (constant slices per axis: at the ends, between others); ``repeated`` (sagittal slices equal to
    their neighbour); and, with a label map, ``volume`` (ml), ``centre`` (mm), ``border`` (labels that touch
    the edge of the volume), ``dark`` (share of cartilage on background), ``edges``
    (:func:`~oahier.audit.edges.edge_contrast` of the cartilage, NaN for voxels of more than 6 mm) and
    ``level`` (median intensity of cartilage between the minimum, 0, and the 99th percentile, 1).
    """
    data = np.ascontiguousarray(images.mri.data)
    facts = {**_geometry(images.mri.grid, images.mri.source), **_content(data), **_intensity(data)}
    if images.cartilage is not None:
        labels = np.ascontiguousarray(images.cartilage.data)
        facts |= _labels(labels, images.mri.grid)
        background = facts["low"] + _DARK * (facts["p99"] - facts["low"])
        cartilage = np.isin(labels, CARTILAGE_LABELS)
        resolved = sorted(images.mri.grid.spacing)[1] <= _RESOLVED
        facts["edges"] = edge_contrast(data, cartilage) if resolved else float("nan")
        on_cartilage = data[cartilage]
        facts["dark"] = _share(on_cartilage <= background)
        level = float(np.median(on_cartilage)) if on_cartilage.size else float("nan")
        facts["level"] = (level - facts["low"]) / max(facts["p99"] - facts["low"], 1e-6)
    return facts


def _geometry(grid: Grid, source: Grid) -> dict[str, Any]:
    from nibabel.orientations import aff2axcodes

    cosines = np.abs(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
    return {
        "shape": list(grid.shape),
        "spacing": [round(length, 4) for length in grid.spacing],
        "extent": [round(length, 1) for length in grid.extent],
        "axes": "".join(str(code) for code in aff2axcodes(source.affine)),
        "oblique": round(float(np.degrees(np.arccos(np.clip(np.diag(cosines), 0, 1).min()))), 1),
    }


def _content(data: Shaped[np.ndarray, "i j k"]) -> dict[str, Any]:
    """Hashes that do not depend on number type, file format or axis order; equal neighbouring slices."""
    slices = [_digest(np.ascontiguousarray(part, dtype=np.float32).data) for part in data]
    shape = str(data.shape).encode()
    varied = [bool((part != part.flat[0]).any()) for part in data]
    equal = [a == b and v for a, b, v in zip(slices, slices[1:], varied, strict=False)]
    return {
        "content": _digest(shape + b"".join(slices)).hex(),
        "mirrored": _digest(shape + b"".join(reversed(slices))).hex(),
        "repeated": sum(equal),
    }


def _digest(content: Any) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _intensity(data: Shaped[np.ndarray, "i j k"]) -> dict[str, Any]:
    step = max(1, round((data.size / _SAMPLE) ** (1 / 3)))
    p01, p50, p99 = np.percentile(data[::step, ::step, ::step], (1, 50, 99))
    low, high = data.min(), data.max()
    return {
        "mean": float(data.mean(dtype=np.float64)),
        "sd": float(data.std(dtype=np.float64)),
        "p01": float(p01), "p50": float(p50), "p99": float(p99),
        "low": float(low), "high": float(high),
        "zeros": _share(data == 0),
        "lowest": _share(data == low),
        "saturated": _share(data == high),
        "flat": [_flat_slices(data, axis) for axis in range(3)],
    }  # fmt: skip


def _share(found: Shaped[np.ndarray, "..."]) -> float:
    return float(np.count_nonzero(found) / found.size) if found.size else float("nan")


def _flat_slices(data: Shaped[np.ndarray, "i j k"], axis: int) -> list[int]:
    """Constant slices at the two ends, and between slices that are not constant."""
    others = tuple(other for other in range(3) if other != axis)
    flat = data.min(axis=others) == data.max(axis=others)
    varied = np.flatnonzero(~flat)
    inner = int(flat[varied[0] : varied[-1]].sum()) if len(varied) else 0
    return [int(flat.sum()) - inner, inner]


def _labels(labels: UInt8[np.ndarray, "i j k"], grid: Grid) -> dict[str, Any]:
    millilitres = abs(float(np.linalg.det(grid.affine[:3, :3]))) / 1000
    volume, centre, border = {}, {}, []
    for label in (int(value) for value in np.unique(labels) if value):
        inside = labels == label
        profiles = [inside.sum(axis=tuple(o for o in range(3) if o != axis)) for axis in range(3)]
        count = int(profiles[0].sum())
        index = [float(profile @ np.arange(len(profile)) / count) for profile in profiles]
        volume[str(label)] = round(count * millilitres, 6)
        centre[str(label)] = [round(float(x), 2) for x in grid.affine[:3, :3] @ index + grid.affine[:3, 3]]
        if any(profile[0] or profile[-1] for profile in profiles):
            border.append(label)
    return {"volume": volume, "centre": centre, "border": border}
