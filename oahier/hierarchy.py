"""The label hierarchy: a binary osteoarthritis (OA) decision above five Kellgren-Lawrence (KL) grades.

Radiographic OA is present from KL grade 2 on (Kellgren & Lawrence 1957, Ann Rheum Dis 16:494,
doi:10.1136/ard.16.4.494). This is the only module that knows the threshold and the names of the levels;
everything else asks :data:`DEFAULT_HIERARCHY`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oahier.specs import Specified
from oahier.types import KL_GRADES, MISSING


@dataclass(frozen=True)
class Hierarchy(Specified):
    """Levels of one label and the coarse class of every fine class.

    Args:
        finest: name of the finest level, which is that of its target column.
        coarser: for each coarser level, from fine to coarse, its class of every class of the finest level.

    Raises:
        ValueError: maps of different lengths, classes that are not 0, 1, ..., or a level that splits a class
            of a finer one.

    >>> grades = Hierarchy("kl", {"oa": (0, 0, 1, 1, 1)})
    >>> grades.levels, grades.num_classes("kl"), grades.coarse_of("kl"), grades.coarse_of("oa")
    (('kl', 'oa'), 5, 'oa', None)
    """

    finest: str
    coarser: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        maps = {level: tuple(classes) for level, classes in self.coarser.items()}
        object.__setattr__(self, "coarser", maps)
        if not self.coarser or self.finest in self.coarser:
            raise ValueError(
                f"Hierarchy: expected a level coarser than {self.finest!r}, got {dict(self.coarser)}"
            )
        size = self.num_classes(self.finest)
        for fine, coarse in zip(self.levels, self.levels[1:], strict=False):
            classes = self.coarser[coarse]
            if len(classes) != size or set(classes) != set(range(max(classes) + 1)):
                raise ValueError(
                    f"Hierarchy: level {coarse!r}: expected a class 0, 1, ... for each of the {size} classes "
                    f"of {self.finest!r}, none left out, got {classes}"
                )
            self.parents(fine, coarse)

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels, finest first."""
        return (self.finest, *self.coarser)

    def num_classes(self, level: str) -> int:
        """Number of classes of a level."""
        return max(self._from_finest(level)) + 1

    def coarse_of(self, level: str) -> str | None:
        """The next coarser level; None for the coarsest one and for a name that is no level."""
        following = dict(zip(self.levels, self.levels[1:], strict=False))
        return following.get(level)

    def above(self, fine: str, level: str | None = None) -> str:
        """A level coarser than another: the one that is named, or the next.

        Raises:
            ValueError: there is none, or the named one is not coarser.

        >>> DEFAULT_HIERARCHY.above("kl")
        'oa'
        """
        self._from_finest(fine)
        found = self.levels[self.levels.index(fine) + 1 :]
        if not found or level not in (None, *found):
            raise ValueError(
                f"level: expected one coarser than {fine!r}, of {', '.join(found) or 'which there is none'}, "
                f"got {level!r}; the levels, from fine to coarse, are {', '.join(self.levels)}"
            )
        return level or found[0]

    def is_level(self, target: str, num_classes: int) -> bool:
        """True where a head of that many classes on that target column is a level of this hierarchy.

        >>> DEFAULT_HIERARCHY.is_level("kl", 5), DEFAULT_HIERARCHY.is_level("moaks", 4)
        (True, False)
        """
        return target in self.levels and self.num_classes(target) == num_classes

    def parents(self, fine: str, coarse: str) -> tuple[int, ...]:
        """The coarse class of every class of a finer level.

        >>> DEFAULT_HIERARCHY.parents("kl", "oa")
        (0, 0, 1, 1, 1)
        """
        found: dict[int, int] = {}
        for child, parent in zip(self._from_finest(fine), self._from_finest(coarse), strict=True):
            if found.setdefault(child, parent) != parent:
                raise ValueError(
                    f"Hierarchy: {coarse!r} is not coarser than {fine!r}: it splits class {child} of {fine!r}"
                )
        return tuple(found[child] for child in range(len(found)))

    def threshold(self, fine: str, coarse: str) -> int | None:
        """The lowest fine class of coarse class 1, where that is a cut between two classes; else None.

        >>> DEFAULT_HIERARCHY.threshold("kl", "oa")
        2
        """
        parents = self.parents(fine, coarse)
        return parents.index(1) if sorted(parents) == list(parents) and max(parents) == 1 else None

    def coarsen(self, labels: Int[Tensor, "..."], fine: str, coarse: str) -> Int[Tensor, "..."]:
        """Coarse labels of fine ones; ``MISSING`` where the fine label is.

        >>> DEFAULT_HIERARCHY.coarsen(torch.tensor([0, 1, 2, 4, -1]), "kl", "oa").tolist()
        [0, 0, 1, 1, -1]
        """
        parents = torch.tensor(self.parents(fine, coarse), dtype=labels.dtype, device=labels.device)
        return torch.where(labels == MISSING, MISSING, parents[labels.clamp(min=0).long()])

    def marginal(
        self, probabilities: Float[Tensor, "batch classes"], fine: str, coarse: str
    ) -> Float[Tensor, "batch coarse"]:
        """Coarse probabilities ``(batch, coarse classes)``: sums of those of the fine classes.

        >>> p = DEFAULT_HIERARCHY.marginal(torch.tensor([[0.1, 0.2, 0.3, 0.3, 0.1]]), "kl", "oa")
        >>> [round(value, 4) for value in p[0].tolist()]
        [0.3, 0.7]
        """
        members = self.children(fine, coarse)
        return torch.stack([probabilities[:, children].sum(dim=1) for children in members], dim=1)

    def log_marginal(
        self, log_probabilities: Float[Tensor, "batch classes"], fine: str, coarse: str
    ) -> Float[Tensor, "batch coarse"]:
        """Logarithms of :meth:`marginal`, from logarithms."""
        members = self.children(fine, coarse)
        return torch.stack([log_probabilities[:, children].logsumexp(dim=1) for children in members], dim=1)

    def children(self, fine: str, coarse: str) -> list[list[int]]:
        """The classes of the finer level below every class of the coarser one.

        >>> DEFAULT_HIERARCHY.children("kl", "oa")
        [[0, 1], [2, 3, 4]]
        """
        parents = self.parents(fine, coarse)
        return [
            [child for child, parent in enumerate(parents) if parent == label]
            for label in range(max(parents) + 1)
        ]

    def _from_finest(self, level: str) -> tuple[int, ...]:
        if level == self.finest:
            return tuple(range(len(next(iter(self.coarser.values())))))
        if level not in self.coarser:
            raise ValueError(f"expected one of the levels {', '.join(self.levels)}, got {level!r}")
        return tuple(self.coarser[level])


OA_FROM_GRADE = 2
"""The lowest KL grade that counts as radiographic OA."""

DEFAULT_HIERARCHY = Hierarchy("kl", {"oa": tuple(int(grade >= OA_FROM_GRADE) for grade in range(KL_GRADES))})
"""KL grades 0-4, and OA from grade 2 on; the functions below are its short forms."""

FINE, COARSE = DEFAULT_HIERARCHY.levels
"""The two levels, as target columns and as the usual names of their heads."""


def head_label(name: str) -> str:
    """A head or target as tables and figures call it: the levels by their abbreviations, others as they are.

    >>> head_label("kl"), head_label("jsn")
    ('KL', 'jsn')
    """
    return name.upper() if name in DEFAULT_HIERARCHY.levels else name


def oa_from_kl(kl: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """OA = 1 where KL >= 2, 0 below, ``MISSING`` where the grade is missing.

    >>> oa_from_kl(torch.tensor([0, 1, 2, 4, -1]))
    tensor([ 0,  0,  1,  1, -1])
    """
    return DEFAULT_HIERARCHY.coarsen(kl, "kl", "oa")


def oa_probability_from_kl(probabilities: Float[Tensor, "batch grades"]) -> Float[Tensor, " batch"]:
    """Marginal probability of OA: ``P(OA) = sum over k >= 2 of P(KL = k)``.

    Args:
        probabilities: ``(batch, 5)`` grade probabilities.

    >>> p = torch.tensor([[0.1, 0.2, 0.3, 0.3, 0.1]])
    >>> round(oa_probability_from_kl(p).item(), 4)
    0.7
    """
    return DEFAULT_HIERARCHY.marginal(probabilities, "kl", "oa")[:, 1]


def contradicts(oa: Int[Tensor, "..."], kl: Int[Tensor, "..."]) -> Tensor:
    """True where both labels are known and OA is not what KL implies.

    >>> contradicts(torch.tensor([0, 1, 1, -1]), torch.tensor([0, 1, -1, 3])).tolist()
    [False, True, False, False]
    """
    return (oa != MISSING) & (kl != MISSING) & (oa != oa_from_kl(kl))
