"""Training, validation and test sets that keep a subject's knees together and the grades balanced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from typing_extensions import override

from oahier.types import MISSING

Numbers = Int64[np.ndarray, " subjects"]


class SplitPlan(ABC):
    """How to split the subjects of a manifest; subclass it for a plan of your own."""

    @abstractmethod
    def assign(self, strata: Numbers, sizes: Numbers, seed: int) -> list[str]:
        """Split (``"train"``, ``"val"``, ``"test"``) of every subject.

        Args:
            strata: what to balance, the same number for subjects of one grade.
            sizes: knees of each subject.
            seed: the same gives the same splits.

        Raises:
            ValueError: there are fewer subjects than splits.
        """


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

    @override
    def assign(self, strata: Numbers, sizes: Numbers, seed: int) -> list[str]:
        part = deal(strata, sizes, [self.train, self.val, self.test], seed)
        return [("train", "val", "test")[number] for number in part]


@dataclass(frozen=True)
class Folds(SplitPlan):
    """One fold of a cross-validation: fold ``test`` of ``count`` is the test set.

    With the same seed the test sets of the folds ``0 .. count - 1`` are disjoint and cover all knees. ``val``
    is the share of the remaining knees that validates.
    """

    test: int
    count: int = 5
    val: float = 0.15

    def __post_init__(self) -> None:
        if self.count < 2 or not 0 <= self.test < self.count or not 0 <= self.val < 1:
            raise ValueError(
                "folds: expected count >= 2, test in 0 .. count - 1 and val in [0, 1), "
                f"got count={self.count}, test={self.test}, val={self.val}"
            )

    @override
    def assign(self, strata: Numbers, sizes: Numbers, seed: int) -> list[str]:
        fold = deal(strata, sizes, [1 / self.count] * self.count, seed)
        names = ["test"] * len(strata)
        rest = np.flatnonzero(fold != self.test)
        for subject, part in zip(
            rest, deal(strata[rest], sizes[rest], [1 - self.val, self.val], seed + 1), strict=True
        ):
            names[subject] = ("train", "val")[part]
        return names


def assign_splits(table: pd.DataFrame, plan: SplitPlan, seed: int) -> list[str]:
    """Split of every row, grouped by ``subject`` and stratified by ``kl`` (by ``oa`` where it is unknown).

    Raises:
        ValueError: there are fewer subjects than splits.

    >>> table = pd.DataFrame({"subject": list("aabbccdd"), "kl": [0] * 4 + [3] * 4, "oa": [0] * 4 + [1] * 4})
    >>> assign_splits(table, SplitFractions(val=0.25, test=0.25), seed=0).count("train")
    4
    """
    subjects, strata, sizes = _subjects(table)
    names = plan.assign(strata, sizes, seed)
    return [names[subject] for subject in subjects]


def deal(strata: Numbers, sizes: Numbers, shares: Sequence[float], seed: int) -> Numbers:
    """Deal shuffled subjects, stratum by stratum, to the part that lacks most knees.

    Every prefix of the dealing order keeps to the shares, so that each stratum does, and the whole does.
    """
    wanted = np.asarray(shares, dtype=np.float64)
    needed = int((wanted > 0).sum())
    if len(strata) < needed:
        raise ValueError(
            f"expected at least {needed} subjects to fill {needed} splits, got {len(strata)}; "
            "add subjects or set a fraction to 0"
        )
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    given, part = np.zeros(len(wanted)), np.zeros(len(strata), dtype=np.int64)
    for subject in order:
        lack = np.where(wanted > 0, wanted * (given.sum() + sizes[subject]) - given, -np.inf)
        part[subject] = int(lack.argmax())
        given[part[subject]] += sizes[subject]
    return _fill_empty(part, wanted, generator)


def _fill_empty(
    part: Numbers, wanted: Float64[np.ndarray, " parts"], generator: np.random.Generator
) -> Numbers:
    """Give every part that is wanted at least one subject, taken from the largest."""
    for empty in np.flatnonzero((wanted > 0) & (np.bincount(part, minlength=len(wanted)) == 0)):
        largest = int(np.bincount(part, minlength=len(wanted)).argmax())
        part[generator.choice(np.flatnonzero(part == largest))] = empty
    return part


def _subjects(table: pd.DataFrame) -> tuple[Int64[np.ndarray, " rows"], Numbers, Numbers]:
    """Subject number of each row; stratum (of the worst knee) and number of knees of each subject.

    Subjects are numbered by name, so that the order of the rows does not matter.
    """
    names, subjects = np.unique(table["subject"].to_numpy(dtype=str), return_inverse=True)
    kl, oa = table["kl"].to_numpy(np.int64), table["oa"].to_numpy(np.int64)
    without_grade = np.where(oa != MISSING, oa - 3, -4)  # below every grade
    strata = np.full(len(names), -4, dtype=np.int64)
    np.maximum.at(strata, subjects, np.where(kl != MISSING, kl, without_grade))
    return subjects.astype(np.int64), strata, np.bincount(subjects, minlength=len(names)).astype(np.int64)
