"""Ids of subjects that may be one person's, written in two ways."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import pandas as pd

from oahier.data.manifest.columns import row_number
from oahier.problems import Problem, Severity

_SHOWN = 6


def plain_id(subject: str) -> str:
    """An id without what a spreadsheet, a typist or a disk changes.

    These are case, spaces, leading zeros, a trailing ".0", and the Unicode form of accents and digits.

    >>> {plain_id(text) for text in ("0071", "71", " 71.0", "00 71", "７１")}
    {'71'}
    >>> plain_id("OAI-0071") == plain_id("oai-71"), plain_id("M\u00fc1") == plain_id("Mu\u03081")
    (True, True)
    """
    text = re.sub(r"\s+", "", unicodedata.normalize("NFKC", subject).casefold())
    text = re.sub(r"(?<=\d)\.0+$", "", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def similar_subjects(table: pd.DataFrame) -> list[Problem]:
    """Ids that differ in writing only, see :func:`plain_id`; an error if they are in different splits."""
    found = []
    ids = pd.Series(table["subject"].unique(), dtype=str)
    plain = ids.map(plain_id)
    for _, alike in ids[plain.duplicated(keep=False)].groupby(plain, sort=False):
        rows = table[table["subject"].isin(alike)]
        splits = sorted(split for split in rows["split"].unique() if split)
        severity: Severity = "error" if len(splits) > 1 else "warning"
        where = f" in {' and '.join(splits)}" if len(splits) > 1 else ""
        message = (
            f"subjects {listed(list(alike))}{where} differ only by leading zeros, case, spaces or Unicode "
            "form: write one id if they are one person, else ids that differ otherwise"
        )
        found.append(
            Problem(
                message, row_number(rows.index[1]), str(rows["knee"].iloc[1]), "subject", severity, "leakage"
            )
        )
    return found


def listed(values: Sequence[object]) -> str:
    """A few of many values.

    >>> listed(list("abcdefgh"))
    "'a', 'b', 'c', 'd', 'e', 'f' and 2 more"
    """
    shown = ", ".join(repr(value) for value in values[:_SHOWN])
    return f"{shown} and {len(values) - _SHOWN} more" if len(values) > _SHOWN else shown
