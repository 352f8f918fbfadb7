"""Names of the columns of a prediction table, and the heads that they belong to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from oahier.hierarchy import COARSE, FINE
from oahier.types import KL_GRADES


def probability_columns(head: str, classes: int) -> list[str]:
    """The probability columns of a head.

    >>> probability_columns("oa", 2), probability_columns("jsn", 3)
    (['prob_oa'], ['prob_jsn_0', 'prob_jsn_1', 'prob_jsn_2'])
    """
    return [f"prob_{head}"] if classes == 2 else [f"prob_{head}_{grade}" for grade in range(classes)]


def require_own_columns(heads: Mapping[str, Sequence[str]]) -> None:
    """Refuse heads that share a column, as ``kl`` (its grade 2) and ``kl_2`` (of two classes) do.

    Args:
        heads: probability columns by head.

    Raises:
        ValueError: two heads share a column.
    """
    owner: dict[str, str] = {}
    for head, columns in heads.items():
        for column in columns:
            other = owner.setdefault(column, head)
            if other != head:
                raise ValueError(
                    f"heads {other!r} and {head!r}: both need the column {column} of prediction files; "
                    "rename one"
                )


def find_heads(columns: Collection[str], source: str) -> dict[str, list[str]]:
    """The probability columns of each head that has a label, OA and KL first.

    Raises:
        ValueError: no label column, no head, a head without all its columns, or a column of two heads.
    """
    labelled = [name.removeprefix("label_") for name in columns if name.startswith("label_")]
    found = ", ".join(columns)
    if not labelled:
        raise ValueError(
            f"{source}: expected a column label_kl or label_oa (or label_<head> of another head), "
            f"got columns {found}"
        )
    names = list(dict.fromkeys([COARSE, FINE, *labelled]))
    graded = {name: _graded(columns, name) for name in names}
    binary = {f"prob_{name}" for name in names if not graded[name]}
    heads: dict[str, list[str]] = {}
    for name in names:
        column = f"prob_{name}"
        if not binary.issuperset(graded[name]):
            heads[name] = _complete(columns, name, graded[name], source)
            if column in columns and not any(column in others for others in graded.values()):
                raise ValueError(
                    f"{source}: expected a column {column} or columns {heads[name][0]} to {heads[name][-1]}, "
                    "got both"
                )
        elif column in columns:
            heads[name] = [column]
    if not heads:
        raise ValueError(
            f"{source}: expected a column prob_oa or columns prob_kl_0 to prob_kl_4 (or those of another "
            f"head with a label), got columns {found}"
        )
    try:
        require_own_columns(heads)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return heads


def _graded(columns: Collection[str], head: str) -> list[str]:
    """Columns ``prob_<head>_<class>``."""
    start = f"prob_{head}_"
    grades = [name.removeprefix(start) for name in columns if name.startswith(start)]
    numbers = sorted(int(grade) for grade in grades if grade.isascii() and grade.isdecimal())
    return [f"{start}{number}" for number in numbers if f"{start}{number}" in columns]


def _complete(columns: Collection[str], head: str, graded: Sequence[str], source: str) -> list[str]:
    last = int(graded[-1].rpartition("_")[2])
    expected = [f"prob_{head}_{grade}" for grade in range(max(last + 1, KL_GRADES if head == FINE else 2))]
    absent = [column for column in expected if column not in columns]
    if absent:
        raise ValueError(
            f"{source}: expected all of {expected[0]} to {expected[-1]} or none, {', '.join(absent)} missing"
        )
    return expected
