"""Search for the same image under two names."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from oahier.audit.findings import finding
from oahier.data.manifest.columns import row_number
from oahier.hierarchy import FINE
from oahier.problems import Problem, Severity

_SHOWN = 6


def duplicate_problems(knees: pd.DataFrame) -> Iterator[Problem]:
    """Knees with the same voxels, as they are or mirrored left to right, whatever their files are.

    An error if they are of different splits, subjects or grades; a warning otherwise.

    Args:
        knees: the manifest's table with the columns ``content`` and ``mirrored`` (``""`` where unknown).
    """
    known = knees[knees["content"] != ""]
    either = known[["content", "mirrored"]].min(axis=1)
    for _, rows in known[either.duplicated(keep=False)].groupby(either, sort=False):
        across = [name for name in ("split", "subject", FINE) if rows[name].nunique() > 1]
        if not across and rows["mri"].nunique() == 1:
            continue  # a file named twice: the table says so
        severity: Severity = "error" if across else "warning"
        names = [f"{knee!r} (row {row_number(index)})" for index, knee in rows["knee"].items()]
        shown = ", ".join(names[:_SHOWN]) + (
            f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        )
        how = "are the same image" if rows["content"].nunique() == 1 else "are one image and its mirror image"
        words = {"split": "splits", "subject": "subjects", FINE: "grades"}
        where = f" in different {' and '.join(words[name] for name in across)}" if across else ""
        kind = "leakage" if "split" in across else "duplicates"
        yield finding(rows, rows.index[1], "mri", f"knees {shown} {how}{where}; keep one", kind, severity)
