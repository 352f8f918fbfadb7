"""Random parameters of one knee's augmentation: a function of its seed alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float64

BIAS_ORDER = 3
"""Degree of the polynomial of a bias field, as in TorchIO."""

THIN = 6
"""Voxels along an axis below which mild poses move more than a tenth of a volume out of itself."""


@dataclass(frozen=True)
class AugmentationRanges:
    """How far a training volume may be changed; the defaults are mild.

    No flip by default: it would turn medial into lateral. No elastic deformation: it takes seconds on a
    full-size knee and bends the joint space that the grade is read from.

    Args:
        degrees: largest rotation about each axis.
        scale: largest relative change of size along each axis, below 1.
        translation: largest shift along each axis, as a share of the field of view.
        flip: probability of mirroring left and right. Label ids stay: the medial plateau is medial still.
        gamma: largest absolute logarithm of the contrast exponent, applied to half of the volumes.
        bias: largest absolute coefficient of the polynomial of order 3 whose exponential multiplies the
            intensities above the volume's minimum, applied to half of the volumes.
        noise: largest standard deviation of the added noise, in standard deviations of the volume, applied
            to half of the volumes.

    Raises:
        ValueError: a number out of range.

    >>> AugmentationRanges(scale=1.5)
    Traceback (most recent call last):
    ...
    ValueError: augmentation: expected scale from 0 to below 1, got 1.5
    """

    degrees: float = 5.0
    scale: float = 0.05
    translation: float = 0.03
    flip: float = 0.0
    gamma: float = 0.15
    bias: float = 0.1
    noise: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"augmentation: expected {field.name} of 0 or more, got {value}")
        if self.scale >= 1:
            raise ValueError(f"augmentation: expected scale from 0 to below 1, got {self.scale}")
        if self.flip > 1:
            raise ValueError(f"augmentation: expected flip, a probability, from 0 to 1, got {self.flip}")


@dataclass(frozen=True, eq=False)
class AugmentationDraw:
    """The numbers drawn for one knee.

    A point at ``p`` mm from the centre moves to ``scales * (R p + shifts * extent)``, where
    ``R = R_k R_i R_j`` turns about the axes by ``angles`` (TorchIO's and ITK's convention).
    """

    angles: Float64[np.ndarray, "3"]
    """Radians about i, j, k."""
    scales: Float64[np.ndarray, "3"]
    shifts: Float64[np.ndarray, "3"]
    """Shares of the field of view."""
    flip: bool
    gamma: float
    """Exponent; 1 leaves the contrast."""
    bias: Float64[np.ndarray, "coefficients"]
    """20 coefficients in TorchIO's order; all zero where there is no bias."""
    noise: float
    noise_seed: int

    @property
    def rotation(self) -> Float64[np.ndarray, "3 3"]:
        """The matrix ``R``."""
        (si, sj, sk), (ci, cj, ck) = np.sin(self.angles), np.cos(self.angles)
        about_i = np.array([[1, 0, 0], [0, ci, -si], [0, si, ci]])
        about_j = np.array([[cj, 0, sj], [0, 1, 0], [-sj, 0, cj]])
        about_k = np.array([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
        return np.asarray(about_k @ about_i @ about_j, dtype=np.float64)

    def bias_cube(self) -> Float64[np.ndarray, "powers powers powers"]:
        """The coefficients by their powers of i, j, k."""
        powers = range(BIAS_ORDER + 1)
        cube = np.zeros((len(powers),) * 3)
        places = [(i, j, k) for i in powers for j in powers for k in powers if i + j + k <= BIAS_ORDER]
        for place, coefficient in zip(places, self.bias, strict=True):
            cube[place] = coefficient
        return cube


def draw(ranges: AugmentationRanges, seed: int) -> AugmentationDraw:
    """The draw that belongs to a seed; global random states are left alone.

    >>> first, again = draw(AugmentationRanges(), 7), draw(AugmentationRanges(), 7)
    >>> first.angles.tolist() == again.angles.tolist() and first.noise_seed == again.noise_seed
    True
    """
    generator = np.random.default_rng(seed)
    pose = generator.uniform(-1.0, 1.0, (3, 3))
    flip, *applied = generator.random(4)
    gamma, bias, noise = generator.uniform(-1.0, 1.0), generator.uniform(-1.0, 1.0, 20), generator.random()
    with_gamma, with_bias, with_noise = (value < 0.5 for value in applied)
    return AugmentationDraw(
        angles=np.deg2rad(ranges.degrees) * pose[0],
        scales=1 + ranges.scale * pose[1],
        shifts=ranges.translation * pose[2],
        flip=bool(flip < ranges.flip),
        gamma=math.exp(ranges.gamma * gamma) if with_gamma else 1.0,
        bias=ranges.bias * bias if with_bias else np.zeros(20),
        noise=ranges.noise * noise if with_noise else 0.0,
        noise_seed=int(generator.integers(2**31)),
    )
