"""Subjects that are in two splits or twice in one, and ids that a spreadsheet has changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from oahier.audit.findings import finding
from oahier.data.manifest.columns import row_number
from oahier.data.manifest.subject_ids import listed, similar_subjects
from oahier.problems import Problem

_FIXED_WIDTH = 0.8


def subject_problems(table: pd.DataFrame, covariates: Sequence[str]) -> Iterator[Problem]:
    """Everything about subjects that the table says, but for one in two splits, which reading finds."""
    yield from similar_subjects(table)
    yield from _lost_zeros(table)
    yield from _repeated(table)
    yield from _changing(table, covariates)


def _lost_zeros(table: pd.DataFrame) -> Iterator[Problem]:
    """Numbers of one width, some of them with leading zeros, and a few that are shorter."""
    ids = pd.Series(table["subject"].unique(), dtype=str)
    if (written := ids[ids.str.fullmatch(r"\d+(\.\d+)?[eE]\+?\d+|\d+\.0+")]).size:
        message = (
            f"subjects such as {listed(list(written))} look like numbers of a spreadsheet; write ids as text"
        )
        yield Problem(message, column="subject", severity="warning", kind="leakage")
    if not ids.str.fullmatch(r"\d+").all():
        return
    width = ids.str.len()
    usual = width.mode().iloc[0]
    short, padded = ids[width < usual], ids[(width == usual) & ids.str.startswith("0")]
    if len(short) and len(padded) and (width == usual).mean() >= _FIXED_WIDTH:
        message = (
            f"subjects {listed(list(short))} have fewer than the usual {usual} digits: have they lost "
            "leading zeros?"
        )
        yield Problem(message, column="subject", severity="warning", kind="leakage")


def _repeated(table: pd.DataFrame) -> Iterator[Problem]:
    """The same side at the same visit more than once, or more than two knees at one visit."""
    keys = ["subject", "visit", "side"]
    known = table[(table["side"] != "") & table.duplicated(keys, keep=False)]
    for (subject, visit, side), rows in known.groupby(keys, sort=False):
        when = f" at visit {visit}" if visit else ""
        message = (
            f"subject {subject!r} has {len(rows)} {side} knees{when}, in rows {_rows(rows)}; is one of them "
            f"the {'left' if side == 'right' else 'right'} knee, another visit, or the same scan again?"
        )
        yield finding(rows, rows.index[1], "side", message, "subjects")
    sizes = table.groupby(["subject", "visit"])["knee"].transform("size")
    for (subject, visit), rows in table[(sizes > 2) & (table["side"] == "")].groupby(["subject", "visit"]):
        when = f"at visit {visit}" if visit else "without visits"
        message = f"subject {subject!r} has {int(sizes[rows.index[0]])} knees {when}; fill in side and visit"
        yield finding(rows, rows.index[-1], "side", message, "subjects")


def _changing(table: pd.DataFrame, covariates: Sequence[str]) -> Iterator[Problem]:
    """A subject's sex or site that is not the same in all rows."""
    for name in covariates:
        if pd.api.types.is_numeric_dtype(table[name]) and table[name].nunique() > 8:
            continue  # age and weight do change
        known = table[table[name].astype(str).str.strip() != ""].dropna(subset=[name])
        pairs = known[["subject", name]].drop_duplicates()
        changing = pairs.loc[pairs["subject"].duplicated(), "subject"]
        for subject, rows in known[known["subject"].isin(changing)].groupby("subject", sort=False):
            message = (
                f"subject {subject!r} has {name} {listed([str(value) for value in rows[name].unique()])}"
            )
            yield finding(rows, rows.index[-1], name, message, "subjects")


def _rows(rows: pd.DataFrame) -> str:
    return listed([row_number(index) for index in rows.index])
