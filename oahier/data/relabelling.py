"""Changes of the labels that a model learns from: noise, placebos and permutations; test labels stay."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from typing_extensions import override

from oahier.data.manifest.manifest import Manifest
from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE
from oahier.types import MISSING


class Relabelling(ABC):
    """Makes other labels of a table; subclass it for one of your own."""

    @abstractmethod
    def apply(self, table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
        """A copy with other labels; what is changed of test knees is undone by the caller.

        Args:
            table: a row a knee, with ``split`` and every label.
            generator: of the draws.
        """


def relabelled(manifest: Manifest, changes: Mapping[str, Relabelling], seed: int) -> Manifest:
    """A manifest whose training and validation knees have other labels.

    Args:
        manifest: with splits.
        changes: by name; applied in the alphabetical order of the names, each with random numbers of its own.
        seed: the same gives the same labels.
    """
    table = manifest.table
    for name, change in sorted(changes.items()):
        made = change.apply(table, np.random.default_rng([seed, zlib.crc32(name.encode())]))
        held_out = ~table["split"].isin(["train", "val"])
        table = made.where(~held_out, table).astype(table.dtypes)
    return replace(manifest, table=table)


@dataclass(frozen=True)
class NoisyGrades(Relabelling):
    """A share of the grades read one too high or too low, as by another reader; OA stays as it was read.

    Args:
        share: of the knees whose grade has a neighbour to move to; from 0 to 1.
        across: move grades 1 and 2 across the border of OA; else all grades within {0, 1} and {2, 3, 4}.

    Raises:
        ValueError: a share outside 0 to 1.

    >>> table = pd.DataFrame({"kl": [0, 1, 2, 3, 4], "oa": [0, 0, 1, 1, 1]})
    >>> NoisyGrades(1.0, across=True).apply(table, np.random.default_rng(0))["kl"].tolist()
    [0, 2, 1, 3, 4]
    """

    share: float
    across: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"NoisyGrades: expected a share from 0 to 1, got {self.share}")

    @override
    def apply(self, table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
        chosen, direction = generator.random((2, len(table)))
        draws = zip(table[FINE], chosen, direction, strict=True)
        grades = [self._read(int(grade), *drawn) for grade, *drawn in draws]
        return table.assign(**{FINE: grades})

    def _read(self, grade: int, chosen: float, direction: float) -> int:
        block = DEFAULT_HIERARCHY.parents(FINE, COARSE)
        near = [other for other in (grade - 1, grade + 1) if grade != MISSING and 0 <= other < len(block)]
        near = [other for other in near if (block[other] != block[grade]) == self.across]
        return near[int(direction * len(near))] if near and chosen < self.share else grade


@dataclass(frozen=True)
class ShuffledLabels(Relabelling):
    """Labels of other knees of the same split, drawn without replacement: frequencies stay, all else goes.

    Args:
        columns: labels that move together.
    """

    columns: Sequence[str] = (COARSE,)

    @override
    def apply(self, table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
        made, columns = table.copy(), list(self.columns)
        for _, rows in made.groupby("split", sort=True).indices.items():
            order = generator.permutation(rows)
            made.loc[made.index[rows], columns] = table[columns].to_numpy()[order]
        return made


@dataclass(frozen=True)
class TwinLabels(Relabelling):
    """The label of another knee of the same split and grade: all that the grade says of it, and no more.

    A knee without such a twin has no label. Where the label follows from the grade, as OA from KL grades
    without noise, every label stays what it was.

    Args:
        column: the label.
        same: the label that both knees share.
    """

    column: str = COARSE
    same: str = FINE

    @override
    def apply(self, table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
        values = table[self.column].to_numpy()
        made = np.full(len(values), MISSING, dtype=np.int64)
        for _, rows in table.groupby(["split", self.same], sort=True).indices.items():
            if len(rows) > 1:
                order = generator.permutation(rows)
                made[order] = values[np.roll(order, 1)]
        return table.assign(**{self.column: made})
