"""The plan of a study: a base configuration and a grid of named overrides."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oahier.hierarchy import FINE
from oahier.model.section_classes import flat, flat_overrides
from oahier.specs import nearest
from oahier.specs.errors import read_yaml
from oahier.study import definitive
from oahier.study.methods import with_methods
from oahier.study.overrides import Overrides, PlanError, merged, overridden, with_named_probes
from oahier.study.presets import (
    DEFAULT_HEAD,
    PRESETS,
    Supervision,
    known_supervisions,
    level_overrides,
    with_heads,
)
from oahier.study.selection import check_selection

CONTRAST = "supervision"
REPLICATE = "seed"
POOLED = "fold"
"""Axis whose cells are pooled: each tests the knees that the others do not."""

_NAME = re.compile(r"[A-Za-z0-9.+-]+")
_FILE_PATHS = (("data", "manifest"), ("data", "cache"))


@dataclass(frozen=True)
class CellPlan:
    """One cell of the grid: its level on each axis and the configuration that follows."""

    factors: Mapping[str, str]
    config: Mapping[str, Any]
    supervision: Supervision | None = None
    """The known supervision that the cell is named for."""

    @property
    def name(self) -> str:
        """Levels joined by ``_``; the cell's folder."""
        return "_".join(self.factors.values())


@dataclass(frozen=True)
class Plan:
    """What a study file says.

    Args:
        name: of the study, and of its group in Weights & Biases.
        base: configuration that all cells start from, as ``oahier fit`` takes it.
        grid: axis, then level, then the dotted names and values that the level replaces.
        preset: recipe below the base configuration (``"paper"``), or ``None``.
        without: combinations to leave out, each a level for some of the axes.
        monitor: validation value by which the best epoch is chosen; ``None`` takes the last epoch.
        mode: whether a larger (``"max"``) or smaller (``"min"``) monitor is better.
        saliency: methods to explain the test knees with, for each head that supervises the encoder.
        knees: number of test knees to keep volumes and maps of, for the report.
        decoding: serial form of the rule that decides grades, see :class:`~oahier.metrics.Decoding`; the most
            probable grade when not given.
        covariate: column of the manifest with which the definitive study correlates severity inside a block.
    """

    name: str
    base: Mapping[str, Any]
    grid: Mapping[str, Mapping[str, Overrides]]
    preset: str | None = None
    without: Sequence[Mapping[str, str]] = ()
    monitor: str | None = f"val/{FINE}/qwk"
    mode: str = "max"
    saliency: Sequence[str] = ("gradcam", "smoothgrad")
    knees: int = 4
    decoding: Mapping[str, Any] | None = None
    covariate: str = ""
    source: str = field(default="", compare=False)

    @property
    def contrast(self) -> str:
        """Axis whose levels are compared: ``supervision``, or the first other one that has several."""
        axes = [CONTRAST, *(axis for axis in self.grid if axis not in (REPLICATE, POOLED))]
        return next((axis for axis in axes if len(self.grid.get(axis, ())) > 1), CONTRAST)

    def cells(self) -> list[CellPlan]:
        """All cells, the last axis running fastest; the order of the axes does not change what a cell is.

        Raises:
            PlanError: nothing is left, two cells have one name, or two axes contradict each other.
        """
        cells = list(self._cells())
        if not cells:
            raise PlanError(f"{self.name}: `without` leaves no cell of the grid")
        names = [cell.name for cell in cells]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PlanError(
                f"{self.name}: two cells would be called {twice[0]!r}; rename a level of the grid"
            )
        return cells

    def _cells(self) -> Iterator[CellPlan]:
        base = with_named_probes(merged(PRESETS.get(self.preset or "", {}), flat(self.base)))
        for levels in itertools.product(*self.grid.values()):
            factors = dict(zip(self.grid, levels, strict=True))
            if any(all(factors[axis] == level for axis, level in left.items()) for left in self.without):
                continue
            where = f"{self.name}: cell {'_'.join(factors.values())!r}"
            overrides = {axis: self.grid[axis][level] for axis, level in factors.items()}
            config = overridden(base, overrides, where)
            supervision = self._fill_in_heads(config, factors, where)
            with_methods(config, DEFAULT_HEAD, where)
            self._fill_in_levels(config, factors)
            yield CellPlan(factors, config, supervision)

    def _fill_in_heads(
        self, config: dict[str, Any], factors: Mapping[str, str], where: str
    ) -> Supervision | None:
        """Give a cell of a known supervision the heads that it lacks; returns the supervision."""
        known, level = known_supervisions(self.preset), factors.get(CONTRAST, "")
        if level not in known:
            return None
        if self.grid[CONTRAST][level] == level_overrides(CONTRAST, level, level, self.preset):
            model = config.setdefault("model", {})
            try:
                model["heads"] = with_heads(model.get("heads") or {}, known[level], known)
            except ValueError as error:
                raise PlanError(f"{where}: {error}") from None
        return known[level]

    def _fill_in_levels(self, config: dict[str, Any], factors: Mapping[str, str]) -> None:
        data = config.get("data") or {}
        for _, key in _FILE_PATHS:
            if isinstance(data.get(key), str):
                try:
                    data[key] = data[key].format_map(factors)
                except (KeyError, ValueError, IndexError) as error:
                    raise PlanError(
                        f"{self.name}: data.{key}: {data[key]!r} asks for an axis that the grid lacks "
                        f"({error}); it has {', '.join(factors)}"
                    ) from error


_SELECTION = ("monitor", "mode", "saliency", "knees", "decoding", "covariate")
_KEYS = ("name", "base", "grid", "preset", "without", *_SELECTION)


def read_plan(path: str | Path) -> Plan:
    """Read a study file.

    A relative path of the base configuration counts from the study file's folder, that of manifest and cache
    from the file that names it. In both, ``{axis}`` stands for the cell's level:
    ``manifest: knees/reader-{seed}.csv``.

    Raises:
        PlanError: no such file, no YAML, unknown keys, an empty axis, unknown presets or levels.
    """
    path = Path(path)
    content = _read_yaml(path)
    unknown = sorted(set(content) - set(_KEYS))
    if unknown:
        raise PlanError(
            f"{path}: unknown key {unknown[0]!r}; expected {', '.join(_KEYS)}.{nearest(unknown[0], _KEYS)}"
        )
    preset = content.get("preset")
    own = definitive.GRID if preset == definitive.NAME else {}
    for key in ("base", *(() if own else ("grid",))):
        if key not in content:
            raise PlanError(f"{path}: expected an entry `{key}`; see the guide on studies for an example")
    if preset is not None and preset not in PRESETS:
        raise PlanError(f"{path}: preset: expected one of {sorted(PRESETS)} or none, got {preset!r}")
    name = str(content.get("name", path.stem))
    if not _NAME.fullmatch(name.replace("_", "-")):
        raise PlanError(f"{path}: name: expected letters, digits, '.', '+', '-' and '_', got {name!r}")
    axes = content.get("grid", {})
    if isinstance(axes, dict):
        axes = {**{axis: axes[axis] for axis in axes if axis not in own}, **own, **axes}
    grid = _grid(path, axes, preset)
    selection: dict[str, Any] = {"monitor": None} if preset == "paper" else {}
    selection |= definitive.SELECTION if own else {}
    selection |= {key: content[key] for key in _SELECTION if key in content}
    check_selection(path, selection)
    return Plan(
        name=name,
        base=_base(path, content["base"]),
        grid=grid,
        preset=preset,
        without=[
            *_without(path, content.get("without") or [], grid),
            *(left for left in definitive.WITHOUT if own and all(left[axis] in grid[axis] for axis in left)),
        ],
        source=path.read_text(encoding="utf-8"),
        **selection,
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise PlanError(f"{path}: no such file")
    return read_yaml(path, str(path), PlanError)


def _base(path: Path, base: Any) -> dict[str, Any]:
    folder = path.parent
    if isinstance(base, str):
        folder = (path.parent / base).parent
        base = _read_yaml(path.parent / base)
    if not isinstance(base, dict):
        raise PlanError(
            f"{path}: base: expected a configuration or the path of one, got {type(base).__name__}"
        )
    try:
        made = flat(copy.deepcopy(base))
    except ValueError as error:
        raise PlanError(f"{path}: base: {error}") from None
    for section, key in _FILE_PATHS:
        values = made.get(section) or {}
        if key in values:
            values[key] = _absolute(folder, f"{section}.{key}", values[key])
    return made


def _absolute(folder: Path, key: str, value: Any) -> Any:
    """A value of a configuration; a path of a file becomes absolute."""
    if isinstance(value, str) and tuple(key.split(".")) in _FILE_PATHS:
        return str((folder / Path(value).expanduser()).absolute())
    return value


def _grid(path: Path, axes: Any, preset: str | None) -> dict[str, dict[str, Overrides]]:
    if not isinstance(axes, dict) or not axes:
        raise PlanError(f"{path}: grid: expected axes with their levels, got {axes!r}")
    return {str(axis): _levels(path, str(axis), levels, preset) for axis, levels in axes.items()}


def _levels(path: Path, axis: str, levels: Any, preset: str | None) -> dict[str, Overrides]:
    where = f"{path}: grid.{axis}"
    if not isinstance(levels, (list, dict)) or not levels:
        raise PlanError(f"{where}: expected at least one level, got {levels!r}")
    made: dict[str, Overrides] = {}
    for level in levels:
        value = levels[level] if isinstance(levels, dict) else level
        name = str(level).replace("/", "-")
        if not isinstance(level, (str, int, float)) or not _NAME.fullmatch(name):
            raise PlanError(
                f"{where}: a level's name may have letters, digits, '.', '+' and '-', got {level!r}"
            )
        if name in made:
            raise PlanError(f"{where}: two levels are called {name!r}")
        if isinstance(levels, dict) and value is not None:
            if not isinstance(value, dict):
                raise PlanError(
                    f"{where}.{level}: expected dotted names with their values, for example "
                    f"{{model.encoder: resnet3d}}, or {{}} for the base as it is; got {value!r}"
                )
            given = [flat_overrides(str(key), item) for key, item in value.items()]
            made[name] = {
                key: _absolute(path.parent, key, item) for one in given for key, item in one.items()
            }
            continue
        try:
            made[name] = level_overrides(axis, name, level, preset, len(levels))
        except ValueError as error:
            raise PlanError(f"{path}: {error}") from None
    return made


def _without(path: Path, left_out: Any, grid: Mapping[str, Mapping[str, Overrides]]) -> list[dict[str, str]]:
    if not isinstance(left_out, list) or not all(isinstance(item, dict) and item for item in left_out):
        raise PlanError(
            f"{path}: without: expected a list such as [{{backbone: m3t, seed: 0}}], got {left_out!r}"
        )
    made = [{str(axis): str(level).replace("/", "-") for axis, level in item.items()} for item in left_out]
    for item in made:
        for axis, level in item.items():
            if level not in grid.get(axis, {}):
                raise PlanError(f"{path}: without: the grid has no {axis} {level!r}")
    return made
