"""Anatomy and scan of a phantom knee: latent parameters drawn independently of disease."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

Side = Literal["left", "right"]


def _drawn(mean: float, spread: float, bound: float = 2.0) -> Any:
    """A parameter with its mean, spread over subjects, and bound on the deviation in spreads."""
    return field(default=mean, metadata={"spread": spread, "bound": bound})


@dataclass(frozen=True)
class Anatomy:
    """Shape of one healthy knee, and where disease would strike it. Lengths in mm, ratios to the mean knee.

    Drawn from its own random stream, which never sees the severity. The two knees of a subject share most
    of it; visits share all of it.
    """

    scale: float = _drawn(1.0, 0.05)
    width: float = _drawn(1.0, 0.02)
    depth: float = _drawn(1.0, 0.02)
    condyle_radius: float = _drawn(1.0, 0.03)
    notch_width: float = _drawn(9.5, 0.8)
    groove_depth: float = _drawn(5.0, 0.7)
    tibial_slope: float = _drawn(0.09, 0.03)
    eminence_height: float = _drawn(8.0, 0.8)
    patella_height: float = _drawn(0.0, 2.5)
    patella_shift: float = _drawn(0.0, 1.5)
    femoral_cartilage: float = _drawn(2.05, 0.10)
    tibial_cartilage: float = _drawn(2.15, 0.10)
    fluid: float = _drawn(0.5, 0.12)
    leg_radius: float = _drawn(1.0, 0.05)
    fat_thickness: float = _drawn(6.0, 2.0, 1.8)
    muscle_bulk: float = _drawn(1.0, 0.06)
    lesion_offset: float = _drawn(0.0, 4.0, 1.8)
    """Position of the focal lesion along the medial condyle (mm, anterior positive)."""
    lateral_share: float = _drawn(0.3, 0.08)
    """Disease of the lateral compartment relative to the medial one."""
    relief_seed: int = 0
    """Seed of the low-frequency relief of bones and margins."""

    @classmethod
    def draw(cls, subject: np.random.Generator, knee: np.random.Generator) -> Anatomy:
        """Draw a knee: 90 % of each parameter's variance is the subject's, the rest the knee's own.

        >>> a = Anatomy.draw(np.random.default_rng(0), np.random.default_rng(1))
        >>> 0.85 < a.scale < 1.15
        True
        """
        values: dict[str, float] = {}
        for one in fields(cls):
            if one.metadata:
                deviate = np.sqrt(0.9) * subject.normal() + np.sqrt(0.1) * knee.normal()
                bound = one.metadata["bound"]
                values[one.name] = one.default + one.metadata["spread"] * float(
                    np.clip(deviate, -bound, bound)
                )
        return cls(**values, relief_seed=int(subject.integers(2**31)))

    def as_vector(self) -> list[float]:
        """All parameters but the relief's seed, in the order of the fields."""
        return [float(getattr(self, one.name)) for one in fields(self) if one.metadata]


@dataclass(frozen=True)
class Scan:
    """One acquisition: pose, coil and what else differs between two scans of the same knee."""

    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Degrees about the right-left, anterior-posterior and superior-inferior axis."""
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Millimetres towards medial, anterior and superior."""
    gain: float = 1000.0
    """Receiver gain: signal units of the brightest tissue."""
    bias: float = 0.2
    """Standard deviation of the logarithm of the coil's sensitivity over the volume; 0 for a flat field."""
    noise: float = 0.03
    """Rician noise as a fraction of the gain; 0 for none."""
    resting_fluid: float = 0.8
    """Thickness (mm) of the fluid that a knee holds without disease."""
    seed: int = 0
    """Seed of bias field, texture and noise."""

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Scan:
        """Draw an acquisition; its stream never sees the severity."""
        rotation = np.clip(generator.normal(0, 3.5, 3), -8, 8)
        translation = np.clip(generator.normal(0, 2.0, 3), -4, 4)
        return cls(
            rotation=(float(rotation[0]), float(rotation[1]), float(rotation[2])),
            translation=(float(translation[0]), float(translation[1]), float(translation[2])),
            gain=float(generator.uniform(800, 1250)),
            bias=float(generator.uniform(0.1, 0.25)),
            noise=float(generator.uniform(0.025, 0.04)),
            resting_fluid=float(generator.uniform(0.4, 1.6)),
            seed=int(generator.integers(2**31)),
        )

    def rotation_matrix(self) -> np.ndarray:
        """``(3, 3)`` rotation from volume to knee axes."""
        matrix = np.eye(3)
        for axis, angle in enumerate(np.deg2rad(self.rotation)):
            turn = np.eye(3)
            i, j = [k for k in range(3) if k != axis]
            turn[i, i] = turn[j, j] = np.cos(angle)
            turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
            matrix = turn @ matrix
        return matrix
