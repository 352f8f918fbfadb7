"""Running a study: making its folder, its cells and its data, then every cell that is not finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oahier.data import KneeMRIDataModule
from oahier.files import write_atomically, write_json
from oahier.hierarchy import FINE
from oahier.study import definitive
from oahier.study.cell_run import Outcome
from oahier.study.cells import Cell, config_without_places, write_cell
from oahier.study.configuration import Resolved, compares_visits, instantiate_data, probes, resolve
from oahier.study.example_volumes import write_knees
from oahier.study.executors import Executor
from oahier.study.method_checks import check_methods
from oahier.study.overrides import PlanError, with_named_probes
from oahier.study.plan import CONTRAST, REPLICATE, CellPlan, Plan


def resolved_cells(plan: Plan) -> list[tuple[CellPlan, dict[str, Any]]]:
    """All cells of a plan with their checked and completed configurations.

    Raises:
        PlanError: see :meth:`Plan.cells` and :func:`~oahier.study.configuration.resolve`; or a cell whose
            heads are not those of the supervision that it is named for, or two cells with one configuration.
    """
    sections: Resolved = {}
    cells = [(cell, resolve(cell.config, f"cell {cell.name!r}", sections)) for cell in plan.cells()]
    known: dict[str, str] = {}
    kinds = {compares_visits(config): cell.name for cell, config in reversed(cells)}
    if len(kinds) > 1:
        raise PlanError(
            f"{plan.name}: cell {kinds[True]!r} learns from pairs of visits and {kinds[False]!r} from single "
            "knees, which nothing compares; make two studies of them"
        )
    for cell, config in cells:
        _check_supervision(cell, config)
        _check_monitor(plan.monitor or "", config, f"cell {cell.name!r}")
        named = None if cell.supervision is None else cell.factors[CONTRAST]
        check_methods(config, f"cell {cell.name!r}", named)
        twin = known.setdefault(json.dumps(with_named_probes(config), sort_keys=True), cell.name)
        if twin != cell.name:
            raise PlanError(
                f"{plan.name}: cells {twin!r} and {cell.name!r} have one configuration and would be one "
                "model twice; a level of the grid changes nothing, or base and levels set the same"
            )
    return cells


def _check_supervision(cell: CellPlan, config: Mapping[str, Any]) -> None:
    if cell.supervision is None:
        return
    detached = probes(config)
    found = sorted(name for name in config["model"]["heads"] if name not in detached)
    expected = sorted(cell.supervision.supervising)
    if found != expected:
        raise PlanError(
            f"cell {cell.name!r} is named for {cell.factors[CONTRAST]!r}, so the encoder is to be supervised "
            f"by {', '.join(expected)}; its configuration has {', '.join(found) or 'none'}. "
            "Set model.probes and model.heads so that they agree, or give the level another name"
        )


def _check_monitor(monitor: str, config: Mapping[str, Any], where: str) -> None:
    heads = config["model"].get("heads") or {}
    if monitor.startswith(f"val/{FINE}/") and FINE not in heads:
        head = next(iter(heads), "<head>")
        raise PlanError(
            f"{where}: monitor: {monitor} is never logged, as there is no head {FINE!r}; write a value that "
            f"is, such as `monitor: val/{head}/qwk`, or `monitor: null` for the last epoch"
        )


def prepare_study(plan: Plan, folder: str | Path) -> list[Cell]:
    """Make or recognise the folder of a study and of all its cells; nothing is trained.

    Every cell's configuration is checked before anything is written. A study may grow: new levels add
    cells. It may not change otherwise.

    Raises:
        PlanError: a configuration is wrong, the folder holds another study, or a cell has changed.
    """
    folder = Path(folder)
    _check_folder(plan, folder)
    settings: dict[str, Any] = {
        "study": plan.name, "preset": plan.preset, "monitor": plan.monitor, "mode": plan.mode,
        "saliency": list(plan.saliency), "knees": plan.knees,
        **({} if plan.decoding is None else {"decoding": plan.decoding}),
    }  # fmt: skip
    planned = resolved_cells(plan)
    cells = [
        write_cell(folder / "cells" / cell.name, cell.name, cell.factors, settings, config)
        for cell, config in planned
    ]
    names = {cell.name for cell in cells}
    gone = sorted(
        path.parent.name for path in folder.glob("cells/*/cell.json") if path.parent.name not in names
    )
    if gone:
        raise PlanError(
            f"{folder} holds cells that the grid no longer has, such as {gone[0]!r}; put the level back or "
            "move their folders away"
        )
    digest = plan_digest(plan, settings, planned)
    content: dict[str, Any] = {
        "name": plan.name, "factors": {axis: list(levels) for axis, levels in plan.grid.items()},
        "contrast": plan.contrast, "replicate": REPLICATE, "preset": plan.preset, "monitor": plan.monitor,
        "plan": digest, "earlier_plans": _earlier_plans(folder, digest),
    }  # fmt: skip
    if plan.preset == definitive.NAME:
        content |= {
            "contrasts": definitive.CONTRASTS,
            "primary": definitive.PRIMARY,
            "covariate": plan.covariate,
        }
    write_json(folder / "study.json", content)
    write_atomically(folder / "study.yaml", plan.source)
    return cells


def plan_digest(
    plan: Plan, settings: Mapping[str, Any], cells: Sequence[tuple[CellPlan, Mapping[str, Any]]]
) -> str:
    """SHA-256 of all that decides what is trained, selected and compared; paths and loggers are left out."""
    told = {
        "settings": settings,
        "covariate": plan.covariate,
        "contrasts": [definitive.PRIMARY, definitive.CONTRASTS] if plan.preset == definitive.NAME else [],
        "cells": [[cell.name, dict(cell.factors), config_without_places(config)] for cell, config in cells],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _earlier_plans(folder: Path, digest: str) -> list[str]:
    """Digests of the plans that the folder was run with before, oldest first."""
    try:
        there = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    known = [*there.get("earlier_plans", []), *([there["plan"]] if "plan" in there else [])]
    return [plan for plan in dict.fromkeys(known) if plan != digest]


def _check_folder(plan: Plan, folder: Path) -> None:
    try:
        there: Mapping[str, Any] = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        if folder.is_dir() and any(path.name != "cells" for path in folder.iterdir()):
            raise PlanError(
                f"{folder}: expected an empty folder or one of this study; it holds other files"
            ) from None
        return
    except ValueError as error:
        raise PlanError(f"{folder / 'study.json'}: damaged ({error})") from error
    if there["name"] != plan.name or list(there["factors"]) != list(plan.grid):
        raise PlanError(
            f"{folder} is the output of study {there['name']!r} with axes {', '.join(there['factors'])}; "
            f"this is {plan.name!r} with axes {', '.join(plan.grid)}. Use another output folder"
        )


def prepare_data(cells: list[Cell], folder: Path) -> dict[str, str]:
    """Preprocess the knees of all cells once, and keep what the report shows of some of them.

    Returns:
        Errors by cell; those cells cannot run.
    """
    known: dict[str, str] = {}
    errors: dict[str, str] = {}
    for cell in cells:
        config = cell.config
        key = json.dumps([config["data"], config.get("classes")], sort_keys=True)
        if key not in known:
            try:
                data = instantiate_data(config)
                data.setup("test")
                if isinstance(data, KneeMRIDataModule):
                    write_knees(data, folder / "knees", cell.settings["knees"])
                known[key] = ""
            except (ValueError, OSError) as error:
                known[key] = str(error)
        if known[key]:
            errors[cell.name] = known[key]
    return errors


def run_study(
    plan: Plan, folder: str | Path, executor: Executor
) -> Generator[tuple[Cell, Outcome], None, None]:
    """Run every cell that is not finished; yields each as it ends, finished ones first.

    A cell that crashes does not stop the others.

    Args:
        plan: the study.
        folder: where everything is written.
        executor: where cells run.

    Raises:
        PlanError: see :func:`prepare_study`; or no cell has usable data.
    """
    folder = Path(folder)
    cells = prepare_study(plan, folder)
    open_cells = []
    for cell in cells:
        if cell.state == "finished":
            yield cell, "finished"
        else:
            open_cells.append(cell)
    errors = prepare_data(open_cells, folder)
    if errors and len(errors) == len(cells):
        raise PlanError(next(iter(errors.values())))
    for cell in open_cells:
        if cell.name in errors:
            write_atomically(cell.folder / "failure.txt", errors[cell.name] + "\n")
            yield cell, "failed"
    yield from executor.run([cell for cell in open_cells if cell.name not in errors])
