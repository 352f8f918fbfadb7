"""Training, validation and test sets that keep a subject's knees together and the grades balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int64

from oahier.types import MISSING


@dataclass(frozen=True)
class SplitFractions:
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


@dataclass(frozen=True)
class Folds:
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


def assign_splits(table: pd.DataFrame, split: SplitFractions | Folds, seed: int) -> list[str]:
    """Split of every row, grouped by ``subject`` and stratified by ``kl`` (by ``oa`` where it is unknown).

    Raises:
        ValueError: there are fewer subjects than splits.

    >>> table = pd.DataFrame({"subject": list("aabbccdd"), "kl": [0] * 4 + [3] * 4, "oa": [0] * 4 + [1] * 4})
    >>> assign_splits(table, SplitFractions(val=0.25, test=0.25), seed=0).count("train")
    4
    """
    subjects, strata, sizes = _subjects(table)
    if isinstance(split, Folds):
        fold = deal(strata, sizes, [1 / split.count] * split.count, seed)
        rest = np.flatnonzero(fold != split.test)
        names = np.full(len(strata), "test", dtype=object)
        shares = [1 - split.val, split.val]
        part = deal(strata[rest], sizes[rest], shares, seed + 1) if split.val else np.zeros(len(rest), int)
        names[rest] = np.array(["train", "val"], dtype=object)[part]
    else:
        part = deal(strata, sizes, [split.train, split.val, split.test], seed)
        names = np.array(["train", "val", "test"], dtype=object)[part]
    return [str(name) for name in names[subjects]]


def deal(
    strata: Int64[np.ndarray, " subjects"],
    sizes: Int64[np.ndarray, " subjects"],
    shares: Sequence[float],
    seed: int,
) -> Int64[np.ndarray, " subjects"]:
    """Deal shuffled subjects, stratum by stratum, to the part that lacks most knees.

    Every prefix of the dealing order keeps to the shares, so that each stratum does, and the whole does.
    """
    wanted = np.asarray(shares, dtype=float)
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
    part: Int64[np.ndarray, " subjects"], wanted: np.ndarray, generator: np.random.Generator
) -> Int64[np.ndarray, " subjects"]:
    """Give every part that is wanted at least one subject, taken from the largest."""
    for empty in np.flatnonzero((wanted > 0) & (np.bincount(part, minlength=len(wanted)) == 0)):
        largest = int(np.bincount(part, minlength=len(wanted)).argmax())
        part[generator.choice(np.flatnonzero(part == largest))] = empty
    return part


def _subjects(
    table: pd.DataFrame,
) -> tuple[Int64[np.ndarray, " rows"], Int64[np.ndarray, " subjects"], Int64[np.ndarray, " subjects"]]:
    """Subject number of each row; stratum (of the worst knee) and number of knees of each subject.

    Subjects are numbered by name, so that the order of the rows does not matter.
    """
    names, subjects = np.unique(table["subject"].to_numpy(dtype=str), return_inverse=True)
    kl, oa = table["kl"].to_numpy(np.int64), table["oa"].to_numpy(np.int64)
    row_stratum = np.where(kl != MISSING, kl, np.where(oa != MISSING, -3 + oa, MISSING - 3))
    strata = np.full(len(names), np.iinfo(np.int64).min)
    np.maximum.at(strata, subjects, row_stratum)
    return subjects.astype(np.int64), strata, np.bincount(subjects, minlength=len(names)).astype(np.int64)
