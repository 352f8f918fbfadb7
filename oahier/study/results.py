"""A study as it lies on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oahier.study.cells import Cell
from oahier.study.overrides import PlanError


@dataclass(frozen=True)
class Study:
    """A study's folder and cells.

    Args:
        folder: the output folder.
        name: of the study.
        factors: levels by axis, in order.
        contrast: the axis whose levels are compared.
        replicate: the axis that repeats a condition.
        preset: recipe, if it followed one.
        cells: all cells, in the order of the grid.
        facts: all of ``study.json``; also ``plan`` (digest), ``earlier_plans``, ``contrasts``, ``covariate``.
    """

    folder: Path
    name: str
    factors: Mapping[str, Sequence[str]]
    contrast: str
    replicate: str
    preset: str | None
    cells: Sequence[Cell]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def conditions(self) -> dict[tuple[str, ...], list[Cell]]:
        """Cells that differ in the replicate only, by their other levels."""
        groups: dict[tuple[str, ...], list[Cell]] = {}
        for cell in self.cells:
            key = tuple(level for axis, level in cell.factors.items() if axis != self.replicate)
            groups.setdefault(key, []).append(cell)
        return groups

    @property
    def condition_axes(self) -> list[str]:
        """Axes other than the replicate."""
        return [axis for axis in self.factors if axis != self.replicate]


def read_study(folder: str | Path) -> Study:
    """The study that lies in a folder.

    Raises:
        PlanError: there is none, or its files are damaged.
    """
    folder = Path(folder)
    try:
        content: dict[str, Any] = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        factors = content["factors"]
        order = {
            axis: {level: place for place, level in enumerate(levels)} for axis, levels in factors.items()
        }
        cells = [Cell.read(path.parent) for path in sorted(folder.glob("cells/*/cell.json"))]
        cells.sort(key=lambda cell: [order[axis][level] for axis, level in cell.factors.items()])
        return Study(
            folder,
            content["name"],
            factors,
            content["contrast"],
            content["replicate"],
            content["preset"],
            cells,
            content,
        )
    except (FileNotFoundError, NotADirectoryError):
        raise PlanError(f"{folder}: expected the folder of a study (with study.json)") from None
    except (ValueError, KeyError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(f"{folder / 'study.json'}: damaged ({error!r})") from error
