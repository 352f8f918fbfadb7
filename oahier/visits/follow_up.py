"""Events after each visit of a knee, and how long it was followed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from oahier.metrics.weighted import Floats
from oahier.visits.courses import Visits


def event_months(
    visits: Visits, values: Floats, *, rise: int | float = 1, highest: int | float | None = None
) -> Floats:
    """Signed months from each visit to the first later one at which a value has risen.

    Args:
        visits: of the rows.
        values: ``(rows,)`` such as KL grades, NaN where unknown.
        rise: at least by how much it rises above that of the row itself.
        highest: value that there is at most; rows that cannot rise so far are not at risk, and are NaN.

    Returns:
        ``(rows,)``; *t* where the rise is first seen after *t* months, *-t* where there is none at the last
        known visit, *t* months later; NaN where nothing later is known. An event is dated by the visit
        that shows it.

    >>> import pandas as pd
    >>> visits = Visits.of(pd.DataFrame({"subject": list("aaab"), "month": [0, 12, 48, 0]}))
    >>> event_months(visits, np.array([1.0, 1.0, 2.0, 3.0])).tolist()
    [48.0, 36.0, nan, nan]
    """
    found = np.full(len(values), np.nan)
    for row, months, risen in _later(visits, values, rise, highest):
        found[row] = months[risen.argmax()] if risen.any() else -months[-1]
    return found


def event_within(
    visits: Visits, values: Floats, months: int | float, *, rise: int | float = 1,
    highest: int | float | None = None,
) -> Floats:  # fmt: skip
    """Whether a value has risen within some months of each visit.

    Args:
        visits: of the rows.
        values: ``(rows,)`` such as KL grades, NaN where unknown.
        months: after the visit.
        rise: at least by how much it rises above that of the row itself.
        highest: value that there is at most; rows that cannot rise so far are not at risk, and are NaN.

    Returns:
        ``(rows,)``; 1 where a visit within ``months`` shows the rise, 0 where a visit then or later and all
        before it do not; NaN where follow-up is too short, or the rise is first seen later, after a gap
        in which the knee was not looked at.

    >>> import pandas as pd
    >>> visits = Visits.of(pd.DataFrame({"subject": list("aaabb"), "month": [0, 12, 48, 0, 24]}))
    >>> event_within(visits, np.array([1.0, 1.0, 2.0, 3.0, 3.0]), 24).tolist()
    [nan, nan, nan, 0.0, nan]
    """
    found = np.full(len(values), np.nan)
    for row, after, risen in _later(visits, values, rise, highest):
        first = int(risen.argmax()) if risen.any() else len(risen)
        if first < len(risen) and after[first] <= months:
            found[row] = 1.0
        elif first and after[first - 1] >= months:
            found[row] = 0.0
    return found


def _later(
    visits: Visits, values: Floats, rise: int | float, highest: int | float | None
) -> Iterator[tuple[int, Floats, np.ndarray]]:
    """Each row at risk with later known visits: how many months later, and if the value has risen then."""
    most = np.inf if highest is None else highest - rise + 1e-9
    for rows in visits.courses():
        known = rows[np.isfinite(values[rows])]
        for position, row in enumerate(known[:-1].tolist()):
            if values[row] > most:
                continue
            later = known[position + 1 :]
            yield row, visits.month[later] - visits.month[row], values[later] >= values[row] + rise - 1e-9
