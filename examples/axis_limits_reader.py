"""An ideal reader of phantoms: the smallest error with which severity can be read from one image.

It knows how the generator makes an image. What it can know of one knee follows from the slope of every
voxel in severity, anatomy, pose, coil and resting fluid, from how these vary, and from noise and texture;
linear and normal about the truth, so a bound rather than a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np

from oahier.phantom import Anatomy, phantom_knee
from oahier.phantom.cohort import KneePlan
from oahier.phantom.contrast import GRAIN
from oahier.phantom.disease import GRADE_THRESHOLDS

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
KINKS = (0.0, 0.25, 0.3, 0.5, 0.55, 0.85, 0.95, 1.0, *GRADE_THRESHOLDS)
"""Severities at which a sign of disease begins or ends."""
COIL = 0.2
"""Standard deviation of every coefficient of the coil's quadratic, and of the logarithm of the gain."""


@dataclass(frozen=True)
class Ideal:
    """What an ideal reader knows of one knee, in units of severity."""

    spread: float
    """Standard deviation of its severity about the true one, over knees of other anatomy and their scans."""
    repeat: float
    """Standard deviation between scans of this knee."""


def ideal(plan: KneePlan, shape: Shape, spacing: Spacing) -> Ideal:
    """The error of the best reader of one image.

    It is told the relief of the bones and left with normal noise. Knowing less, the true limit is worse.
    """
    image = partial(_image, plan, shape, spacing)
    step = _severity_step(plan.severity)
    slopes, priors = [_slope(image, "severity", plan.severity, step, 0.0)], [1e6]
    drawn = [one for one in fields(Anatomy) if one.metadata]
    for one in drawn:
        priors.append(one.metadata["spread"])
        slopes.append(_slope(image, one.name, getattr(plan.anatomy, one.name), 0.2 * priors[-1]))
    for name, value, spread in _scan_parameters(plan):
        priors.append(spread)
        slopes.append(_slope(image, name, value, 0.2 * spread))
    middle = image()
    slopes += [middle * term for term in _coil(shape)]
    priors += [COIL] * (len(slopes) - len(priors))
    textures = np.var([image(seed=seed) for seed in range(5)], axis=0, ddof=1)
    grains = np.prod([max(1, grain / step) for grain, step in zip(GRAIN, spacing, strict=True)])
    noise = plan.scan.noise**2 + textures * grains
    table = np.stack([slope.ravel() for slope in slopes])
    return _known(table, np.array(priors), noise.ravel(), 1 + len(drawn))


def _known(slopes: np.ndarray, priors: np.ndarray, noise: np.ndarray, scan: int) -> Ideal:
    """From slopes ``(parameters, voxels)``: severity, anatomy and, from number ``scan`` on, the scan."""
    information = (slopes / noise) @ slopes.T
    covariance = np.linalg.inv(information + np.diag(priors**-2.0))
    gain = covariance[0] @ information
    repeat = (gain[scan:] ** 2 * priors[scan:] ** 2).sum() + gain @ covariance[0]
    return Ideal(float(np.sqrt(covariance[0, 0])), float(np.sqrt(repeat)))


def _image(plan: KneePlan, shape: Shape, spacing: Spacing, **changed: float) -> np.ndarray:
    """The right knee of a plan without noise and coil, some of its parameters changed; gain 1."""
    body = {one.name for one in fields(Anatomy)}
    scan = replace(plan.scan, noise=0.0, bias=0.0, gain=1.0)
    for name, value in changed.items():
        kind, _, axis = name.partition("_of_")
        if axis:
            moved = list(getattr(scan, kind))
            moved[int(axis)] = value
            scan = replace(scan, **{kind: tuple(moved)})
        elif name in ("resting_fluid", "seed"):
            scan = replace(scan, **{name: value})
    anatomy = replace(plan.anatomy, **{name: value for name, value in changed.items() if name in body})
    severity = changed.get("severity", plan.severity)
    knee = phantom_knee(severity, shape=shape, spacing=spacing, anatomy=anatomy, scan=scan)
    return knee.mri.astype(np.float64)


def _scan_parameters(plan: KneePlan) -> Iterator[tuple[str, float, float]]:
    """Name, value and spread over scans of pose and resting fluid."""
    for kind, spread in (("rotation", 3.5), ("translation", 2.0)):
        for axis, value in enumerate(getattr(plan.scan, kind)):
            yield f"{kind}_of_{axis}", value, spread
    yield "resting_fluid", plan.scan.resting_fluid, 0.35


def _slope(
    image: Callable[..., np.ndarray], name: str, value: float, up: float, down: float | None = None
) -> np.ndarray:
    """Change of every voxel for a unit of a parameter."""
    down = up if down is None else down
    return (image(**{name: value + up}) - image(**{name: value - down})) / (up + down)


def _severity_step(severity: float) -> float:
    """A step of at most .02, up or down, that crosses no kink."""
    above = min(kink for kink in (*KINKS, 2.0) if kink > severity) - severity
    below = severity - max(kink for kink in KINKS if kink <= severity)
    return min(0.02, 0.9 * above) if above >= below else -min(0.02, 0.9 * below)


def _coil(shape: Shape) -> Iterator[np.ndarray]:
    """Terms of the logarithm of gain and sensitivity."""
    lines = [np.linspace(-1, 1, size) for size in shape]
    x, y, z = np.meshgrid(*lines, indexing="ij")
    yield from (np.ones(shape), x, y, z, x * x, y * y, z * z, x * y, y * z, x * z)
