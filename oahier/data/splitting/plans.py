"""Training, validation and test sets that keep a subject's knees together and the grades balanced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from typing_extensions import override

from oahier.data.splitting.assign import deal
from oahier.data.splitting.strata import Strata, strata_of


class SplitPlan(ABC):
    """How to split the subjects of a manifest; subclass it for a plan of your own."""

    @abstractmethod
    def assign(self, strata: Strata, seed: int) -> list[str]:
        """Split (``"train"``, ``"val"``, ``"test"``) of every subject.

        Args:
            strata: the subjects, with their knees in each category that is to be balanced.
            seed: the same gives the same splits.

        Raises:
            ValueError: there are fewer subjects than splits.
        """

    anew = False
    """Split all knees, also where the manifest has a column ``split``."""

    @property
    def shares(self) -> Mapping[str, float] | None:
        """Wanted share of the knees of each split, for the balance reported; ``None``: as they come."""
        return None


@dataclass(frozen=True)
class SplitFractions(SplitPlan):
    """Shares of the knees for validation and test; the rest trains.

    >>> SplitFractions(val=0.2, test=0.3).train
    0.5
    """

    val: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test >= 1:
            raise ValueError(
                "split fractions: expected val and test of 0 or more that add up to less than 1, "
                f"got val={self.val}, test={self.test}"
            )

    @property
    def train(self) -> float:
        """Share of the knees for training."""
        return round(1 - self.val - self.test, 12)

    @property
    @override
    def shares(self) -> Mapping[str, float]:
        return {"train": self.train, "val": self.val, "test": self.test}

    @override
    def assign(self, strata: Strata, seed: int) -> list[str]:
        part = deal(strata, [self.train, self.val, self.test], seed)
        return [("train", "val", "test")[number] for number in part]


@dataclass(frozen=True)
class Folds(SplitPlan):
    """One fold of a cross-validation: fold ``test`` of ``count`` is the test set.

    With the same seed the test sets of the folds ``0 .. count - 1`` are disjoint and cover all knees. ``val``
    is the share of the remaining knees that validates. ``anew`` replaces the splits of the manifest.
    """

    test: int
    count: int = 5
    val: float = 0.15
    anew: bool = False

    def __post_init__(self) -> None:
        if self.count < 2 or not 0 <= self.test < self.count or not 0 <= self.val < 1:
            raise ValueError(
                "folds: expected count >= 2, test in 0 .. count - 1 and val in [0, 1), "
                f"got count={self.count}, test={self.test}, val={self.val}"
            )

    @property
    @override
    def shares(self) -> Mapping[str, float]:
        rest = 1 - 1 / self.count
        return {"train": rest * (1 - self.val), "val": rest * self.val, "test": 1 / self.count}

    @override
    def assign(self, strata: Strata, seed: int) -> list[str]:
        fold = deal(strata, [1 / self.count] * self.count, seed)
        names = ["test"] * len(fold)
        rest = np.flatnonzero(fold != self.test)
        parts = deal(strata.chosen(rest), [1 - self.val, self.val], seed + 1)
        for subject, part in zip(rest, parts, strict=True):
            names[subject] = ("train", "val")[part]
        return names


def assign_splits(
    table: pd.DataFrame, plan: SplitPlan, seed: int, stratify: Sequence[str] = ("kl",)
) -> list[str]:
    """Split of every row, grouped by ``subject``.

    Args:
        table: columns ``subject`` and those of ``stratify``.
        plan: fractions or a fold.
        seed: the same gives the same splits, in whatever order the rows are.
        stratify: columns to balance; ``kl`` means ``oa`` where it is unknown. The first one matters most: its
            classes are brought into every part where there are subjects enough.

    Raises:
        ValueError: there are fewer subjects than splits, or no such column.

    >>> table = pd.DataFrame({"subject": list("aabbccdd"), "kl": [0] * 4 + [3] * 4, "oa": [0] * 4 + [1] * 4})
    >>> assign_splits(table, SplitFractions(val=0.25, test=0.25), seed=0).count("train")
    4
    """
    strata = strata_of(table, stratify)
    names = plan.assign(strata, seed)
    return [names[subject] for subject in strata.rows]
