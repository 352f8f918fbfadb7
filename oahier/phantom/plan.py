"""Checked parameters of a set of phantoms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from oahier.data.splitting.plans import SplitFractions
from oahier.hierarchy import OA_FROM_GRADE
from oahier.phantom.cohort import KneePlan, plan_subject
from oahier.phantom.disease import CAUSES, Disease
from oahier.phantom.knee import check_grid, default_spacing
from oahier.phantom.readers import ReaderNoise, crosses_oa, reader_matrix
from oahier.phantom.shortcuts import Shortcut
from oahier.types import KL_GRADES

MODEL_VERSION = 1
"""Raised when the same parameters give other images."""

_COUNTS = (("knees", 1, 9999), ("visits", 1, 99), ("interval", 1, 120), ("knees_per_subject", 1, 2))

OASource = Literal["observed", "true"]


@dataclass(frozen=True, kw_only=True)
class PhantomPlan:
    """Checked parameters of a set of phantoms; see :func:`make_phantoms`."""

    knees: int = 60
    shape: tuple[int, int, int] = (64, 96, 96)
    spacing: tuple[float, float, float] | None = None
    seed: int = 0
    knees_per_subject: int = 1
    visits: int = 1
    interval: int = 12
    rate: int | float = 0.05
    reader_noise: ReaderNoise | None = "block"
    oa_from: OASource = "observed"
    grade_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    val: int | float = 0.2
    test: int | float = 0.2
    causes: tuple[str, ...] = tuple(CAUSES)
    shortcut: Shortcut | None = None
    shortcut_agreement: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in _COUNTS:
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name}: expected a whole number from {low} to {high}, got {getattr(self, name)}"
                )
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate: expected a mean severity a year from 0 to 1, got {self.rate}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        check_grid(self.shape, self.spacing)
        if self.oa_from not in ("observed", "true"):
            raise ValueError(f"oa_from: expected 'observed' or 'true', got {self.oa_from!r}")
        if self.oa_from == "true" and crosses_oa(self.matrix):
            raise ValueError(
                "oa_from='true': reader_noise moves knees across the OA threshold (between KL "
                f"{OA_FROM_GRADE - 1} and {OA_FROM_GRADE}), so "
                "that OA would contradict the observed grade; use oa_from='observed' or reader_noise='block'"
            )
        weights = np.asarray(self.grade_weights, dtype=np.float64)
        if weights.shape != (KL_GRADES,) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
            raise ValueError(
                f"grade_weights: expected {KL_GRADES} weights of 0 or more, not all 0, "
                f"got {self.grade_weights}"
            )
        SplitFractions(val=self.val, test=self.test)
        Disease.from_severity(0.0).only(self.causes)
        if not 0 <= self.shortcut_agreement <= 1:
            raise ValueError(
                f"shortcut_agreement: expected a share from 0 to 1, got {self.shortcut_agreement}"
            )

    @property
    def matrix(self) -> np.ndarray:
        """Confusion matrix of the reader."""
        return reader_matrix("none" if self.reader_noise is None else self.reader_noise)

    def scans(self) -> list[KneePlan]:
        """Every scan, by subject, side and visit."""
        scans: list[KneePlan] = []
        for number in range(-(-self.knees // self.knees_per_subject)):
            left = min(self.knees_per_subject, self.knees - number * self.knees_per_subject)
            scans += plan_subject(
                number, seed=self.seed, knees=left, visits=self.visits, grade_weights=self.grade_weights,
                interval=self.interval, rate=self.rate,
            )  # fmt: skip
        return scans

    def record(self) -> dict[str, Any]:
        """Parameters as JSON; those of causes, shortcut and follow-up only where there are some."""
        planted = {"causes", "shortcut", "shortcut_agreement"} | (
            {"interval", "rate"} if self.visits == 1 else set()
        )
        others = {name: value for name, value in asdict(self).items() if name not in planted}
        if set(self.causes) != set(CAUSES):
            others["causes"] = sorted(self.causes)
        if self.shortcut is not None:
            others |= {"shortcut": repr(self.shortcut), "shortcut_agreement": self.shortcut_agreement}
        return {
            "model_version": MODEL_VERSION,
            **others,
            "shape": list(self.shape),
            "spacing": list(self.spacing or default_spacing(self.shape)),
            "reader_noise": self.matrix.tolist(),
            "grade_weights": [float(weight) for weight in self.grade_weights],
        }
