"""Section of a model card on the training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Part = Mapping[str, Any]


def data_section(summary: Mapping[str, Any]) -> str:
    """Knees, grades and people of each split, the terms of the data, and what its author has to add.

    Args:
        summary: of :func:`oahier.data.summary.summary_of`; empty where the checkpoint has none.
    """
    parts: dict[str, Part] = summary.get("splits", {})
    if not parts:
        return "## Data\n\nNot recorded in the checkpoint."
    rows = ["", *parts], ["---"] * (len(parts) + 1), *_rows(list(parts.values()))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"## Data\n\nSplits are by subject.\n\n{table}\n\n{_terms(summary)}{_wanted(summary)}"


def _rows(parts: list[Part]) -> list[list[str]]:
    """A row for everything that is known of a split."""
    named: dict[str, Callable[[Part], str]] = {
        "knees": lambda part: str(part["knees"]),
        "subjects": lambda part: str(part["subjects"]),
        "KL 0 / 1 / 2 / 3 / 4": lambda part: " / ".join(map(str, part["kl"])),
        "without / with OA": lambda part: " / ".join(map(str, part["oa"])),
        "sex": lambda part: ", ".join(f"{name} {count}" for name, count in part["sex"].items()),
        "age, mean and standard deviation": lambda part: "{mean:.1f} ± {sd:.1f}".format(**part["age"]),
        "sites": lambda part: str(part["sites"]),
    }

    def cell(part: Part, words: Callable[[Part], str]) -> str:
        try:
            return words(part)
        except KeyError:
            return ""

    rows = [[name, *(cell(part, words) for part in parts)] for name, words in named.items()]
    return [row for row in rows if any(row[1:])]


def _terms(summary: Mapping[str, Any]) -> str:
    terms = [f"{text} ({count} knees)" for text, count in summary.get("licences", {}).items()]
    return f"Terms of the data: {'; '.join(terms)}. " if terms else ""


def _wanted(summary: Mapping[str, Any]) -> str:
    """What only the author knows."""
    named = {"sex": "sex", "age": "age", "sites": "sites"}
    unknown = [
        words for key, words in named.items() if not any(key in part for part in summary["splits"].values())
    ]
    wanted = ["where the knees come from", *([] if summary.get("licences") else ["under which terms"])]
    wanted += [f"who they are ({', '.join(unknown)})"] if unknown else []
    return f"Say here {', '.join(wanted)} and how they were graded."
