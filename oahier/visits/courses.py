"""Rows of a table as visits of knees, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.metrics.weighted import Floats

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Visits:
    """Visits of knees; a knee is one side of one subject."""

    knee: Indices
    """``(rows,)`` number of the knee."""
    subject: npt.NDArray[np.character]
    month: Floats
    """``(rows,)`` months since any day of the knee; NaN where unknown, and such rows are in no course."""

    @classmethod
    def of(cls, table: Any, *, months: str = "month", source: str = "table") -> Visits:
        """Visits of a table (``pandas.DataFrame``) with the columns ``subject``, ``side`` and months.

        Args:
            table: a row a scan; where the sides are empty, a subject has one knee.
            months: column of months.
            source: how messages call the table.

        Raises:
            ValueError: no such column, a cell that is no number, or two scans of a knee in one month.

        >>> import pandas as pd
        >>> table = pd.DataFrame({"subject": ["a", "b", "a"], "side": "left", "month": [24, 0, 0]})
        >>> Visits.of(table).pairs().tolist()
        [[2, 0]]
        """
        import pandas as pd

        for name in ("subject", months):
            if name not in table:
                raise ValueError(
                    f"{source}: expected a column {name!r}, got {', '.join(map(str, table.columns))}"
                    + (
                        "; add the months of each visit, or name the column that holds them"
                        * (name == months)
                    )
                )
        cells = table[months]
        month = pd.to_numeric(cells, errors="coerce")
        wrong = month.isna() & cells.notna() & (cells.astype(str).str.strip() != "")
        if wrong.any() or np.isinf(month).any():
            row = (wrong | np.isinf(month)).idxmax()
            raise ValueError(
                f"{source}: row {row + 2}, column {months!r}: expected a number of months, "
                f"got {str(cells.at[row])!r}"
            )
        side = table["side"].fillna("").astype(str) if "side" in table else pd.Series("", table.index)
        subject = table["subject"].astype(str)
        twice = pd.DataFrame({"subject": subject, "side": side, "month": month})[month.notna()]
        twice = twice[twice.duplicated(keep="first")]
        if len(twice):
            row = twice.index[0]
            raise ValueError(
                f"{source}: row {row + 2}: a second scan of subject {subject.at[row]!r}, side "
                f"{side.at[row]!r}, at month {month.at[row]:g}; expected one: fill in the sides, or keep one"
            )
        number = pd.Series(list(zip(subject, side, strict=True))).map(str).factorize()[0]
        return cls(number.astype(np.int64), subject.to_numpy(str), month.to_numpy(np.float64))

    def courses(self) -> Iterator[Indices]:
        """Rows of each knee in the order of time, knees in the order of the table."""
        order = np.lexsort((self.month, self.knee))
        order = order[np.isfinite(self.month[order])]
        if len(order):
            yield from np.split(order, np.flatnonzero(np.diff(self.knee[order])) + 1)

    def pairs(self) -> Indices:
        """``(pairs, 2)`` rows of the earlier and of the later visit, for every two visits of a knee."""
        found = [pair for rows in self.courses() for pair in combinations(rows.tolist(), 2)]
        return np.asarray(found, dtype=np.int64).reshape(-1, 2)
