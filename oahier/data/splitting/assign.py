"""Dealing subjects to parts so that every category of knees keeps to the wanted shares.

Subjects with the same counts are interchangeable, so what is searched is how many subjects of each *kind* go
to each part: first one by one to the part that lacks most, then by moves and swaps that bring the counts
nearer.
The measure is chi-square-like: over parts and categories, ``(count - wanted)^2 / wanted``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from oahier.data.splitting.strata import Strata

_ROUNDS = 2000
"""Moves and swaps at most; each brings the counts nearer, so that the search ends by itself."""
_SWAPPED = 256
"""Kinds of subjects whose swaps are tried at a time."""
_WHOLE = 3.0
"""Weight of the number of knees against that of a category."""
_ROOM = 0.75
"""Subjects for each class that a part's share must allow, or else it need not hold every class."""

Parts = Int64[np.ndarray, " subjects"]


def deal(strata: Strata, shares: Sequence[float], seed: int) -> Parts:
    """Part of every subject.

    No part is empty. A grade (a category of the first column) is in the largest part, and in every other part
    that has room for all grades if there are subjects enough.

    Args:
        strata: subjects and their knees in each category.
        shares: of the knees, one for each part; a part with 0 gets nobody.
        seed: decides between subjects of one kind.

    Raises:
        ValueError: fewer subjects than parts.
    """
    wanted = np.asarray(shares, dtype=np.float64)
    used = np.flatnonzero(wanted > 0)
    if len(strata.knees) < len(used):
        raise ValueError(
            f"expected at least {len(used)} subjects to fill {len(used)} splits, got {len(strata.knees)}; "
            "add subjects or set a fraction to 0"
        )
    generator = np.random.default_rng(seed)
    counts = np.concatenate([strata.knees[:, None], strata.counts], axis=1)
    kinds, kind_of = np.unique(counts, axis=0, return_inverse=True)
    first = strata.categories[0][0] if strata.categories else ""
    classes = np.array([True, *(group == first for group, _ in strata.categories)])
    state = _State(kinds, np.bincount(kind_of.ravel()), wanted[used] / wanted.sum(), classes)
    state.fill(generator)
    state.spread()
    state.improve(generator)
    part = np.zeros(len(counts), dtype=np.int64)
    for kind, numbers in enumerate(state.given):
        members = generator.permutation(np.flatnonzero(kind_of.ravel() == kind))
        part[members] = np.repeat(used, numbers)
    return part


class _State:
    """How many subjects of each kind every part has been given."""

    def __init__(
        self,
        kinds: Int64[np.ndarray, "kinds categories"],
        numbers: Int64[np.ndarray, " kinds"],
        shares: Float64[np.ndarray, " parts"],
        classes: Bool[np.ndarray, " categories"],
    ) -> None:
        self.kinds, self.numbers, self.shares = kinds.astype(np.float64), numbers, shares
        self.given = np.zeros((len(kinds), len(shares)), dtype=np.int64)
        totals = numbers @ self.kinds
        self.wanted = totals[:, None] * shares
        self.weights = 1 / np.maximum(self.wanted, 1e-9)
        self.weights[0] *= _WHOLE
        self.has = (kinds > 0) & classes
        """Classes of which a kind has knees; the first stands for any knee at all."""
        self.needed = self._needed()

    def _needed(self) -> Bool[np.ndarray, "categories parts"]:
        """Classes that a part must hold: the largest part all, others if they have room and there are enough.

        A part has room if, within its share, it can take about one subject of each class.
        """
        subjects = self.numbers @ self.has
        classes = int(np.count_nonzero(subjects[1:]))
        room = self.wanted[0] >= _ROOM * classes * self.wanted[0].sum() / self.numbers.sum()
        needed = room[None, :] & (subjects >= len(self.shares))[:, None]
        needed[:, int(self.shares.argmax())] = subjects > 0
        needed[0] = True
        return np.asarray(needed)

    def excess(self) -> Float64[np.ndarray, "categories parts"]:
        """Knees of each category that a part has beyond what is wanted."""
        return np.asarray(self.kinds.T @ self.given - self.wanted)

    def holders(self) -> Int64[np.ndarray, "categories parts"]:
        """Subjects of each part that have knees of a class."""
        return np.asarray(self.has.T.astype(np.int64) @ self.given)

    def fill(self, generator: np.random.Generator) -> None:
        """Deal one by one, those with most knees first, to the part where it costs least."""
        order = np.repeat(np.arange(len(self.kinds)), self.numbers)
        order = order[generator.permutation(len(order))]
        order = order[np.argsort(-self.kinds[order, 0], kind="stable")]
        excess = -self.wanted.copy()
        for kind in order:
            knees = self.kinds[kind][:, None]
            part = int((self.weights * knees * (knees + 2 * excess)).sum(axis=0).argmin())
            excess[:, part] += self.kinds[kind]
            self.given[kind, part] += 1

    def spread(self) -> None:
        """Give every part what it needs: a subject at all, and one of each class that it must hold."""
        order = np.argsort(-self.shares, kind="stable").tolist()
        totals = self.holders().sum(axis=1)
        classes = [c for c in np.argsort(totals, kind="stable").tolist() if totals[c] and c]
        for class_ in [*classes, 0]:
            for part in order:
                held = self.holders()[class_]
                donors = [p for p in order if held[p] > self.needed[class_, p]]
                if self.needed[class_, part] and not held[part] and donors:
                    self._give(class_, part, donors)

    def _give(self, class_: int, part: int, donors: list[int]) -> None:
        """The cheapest move of a subject of the class; better one that robs no part of another class."""
        cost, removes = self._move_costs(), self._removes()
        cost += 1e9 * removes[:, :, None]
        cost[~self.has[:, class_]] = np.inf
        others = [p for p in range(len(self.shares)) if p not in donors]
        cost[:, others] = np.inf
        kind, donor = np.unravel_index(int(cost[:, :, part].argmin()), cost.shape[:2])
        if np.isfinite(cost[kind, donor, part]):
            self._move(int(kind), int(donor), part)

    def improve(self, generator: np.random.Generator) -> None:
        """Move and swap subjects as long as that brings the counts nearer."""
        for _ in range(_ROUNDS):
            cost = self._move_costs()
            cost[self._removes()] = np.inf
            best = np.unravel_index(int(cost.argmin()), cost.shape)
            if cost[best] < -1e-9:
                self._move(int(best[0]), int(best[1]), int(best[2]))
                continue
            gain, kind, other, source, target = min(self._swaps(generator), default=(0.0, 0, 0, 0, 0))
            if gain >= -1e-9:
                return
            self._move(kind, source, target)
            self._move(other, target, source)

    def _move(self, kind: int, source: int, target: int) -> None:
        self.given[kind, source] -= 1
        self.given[kind, target] += 1

    def _move_costs(self) -> Float64[np.ndarray, "kinds parts parts"]:
        """Change of the measure when a subject of a kind goes from a part to another; inf where none can."""
        excess = self.excess()
        squares = self.kinds**2 @ self.weights
        linear = 2 * self.kinds @ (self.weights * excess)
        cost = (squares - linear)[:, :, None] + (squares + linear)[:, None, :]
        cost[self.given == 0] = np.inf
        cost[:, range(len(self.shares)), range(len(self.shares))] = np.inf
        return np.asarray(cost)

    def _removes(self) -> Bool[np.ndarray, "kinds parts"]:
        """Where taking one subject of a kind would leave a part without a class that it needs."""
        last = self.needed & (self.holders() == 1)
        return np.asarray((self.has.astype(np.int64) @ last.astype(np.int64)) > 0)

    def _swaps(self, generator: np.random.Generator) -> Iterator[tuple[float, int, int, int, int]]:
        """The best swap between every two parts."""
        tried = np.arange(len(self.kinds))
        if len(tried) > _SWAPPED:
            tried = np.sort(generator.choice(tried, _SWAPPED, replace=False))
        kinds, excess, removes = self.kinds[tried], self.excess(), self._removes()
        for source in range(len(self.shares)):
            for target in range(source + 1, len(self.shares)):
                weights = self.weights[:, source] + self.weights[:, target]
                product = (kinds * weights) @ kinds.T
                square = np.diag(product)
                pull = (
                    2
                    * kinds
                    @ (
                        self.weights[:, target] * excess[:, target]
                        - self.weights[:, source] * excess[:, source]
                    )
                )
                cost = square[:, None] + square[None, :] - 2 * product + pull[:, None] - pull[None, :]
                cost[(self.given[tried, source] == 0) | removes[tried, source]] = np.inf
                cost[:, (self.given[tried, target] == 0) | removes[tried, target]] = np.inf
                kind, other = np.unravel_index(int(cost.argmin()), cost.shape)
                yield float(cost[kind, other]), int(tried[kind]), int(tried[other]), source, target
