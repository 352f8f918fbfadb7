"""Cells of a study on disk: their folders, states and locks."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from oahier.files import hold, write_atomically, write_json
from oahier.model.section_classes import flat, nested
from oahier.study.configuration import compares_visits, probes, resolve
from oahier.study.overrides import PlanError, with_named_probes

State = Literal["finished", "failed", "running", "waiting"]

_PLACES = (("trainer", "default_root_dir"), ("trainer", "logger"), ("data", "num_workers"), ("data", "cache"))
"""Values that say where and not what: they may change between two runs of a cell."""


@dataclass(frozen=True)
class Cell:
    """A cell's folder, with what it is and how it is to be run.

    Args:
        folder: ``DIR/cells/<name>``.
        name: levels joined by ``_``.
        factors: level on each axis.
        settings: how it is selected and explained (monitor, mode, saliency, knees, study).
    """

    folder: Path
    name: str
    factors: Mapping[str, str]
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> Cell:
        """The cell that lies in a folder.

        Raises:
            PlanError: there is none.
        """
        folder = Path(folder)
        try:
            content = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
            return cls(folder, content["name"], content["factors"], content["settings"])
        except (FileNotFoundError, NotADirectoryError):
            raise PlanError(
                f"{folder}: expected the folder of a cell (with cell.json and config.yaml)"
            ) from None
        except (ValueError, KeyError) as error:
            raise PlanError(
                f"{folder / 'cell.json'}: damaged ({error}); remove the folder to start again"
            ) from error

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration in its flat form, read when it is first asked for."""
        return flat(yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8")))

    @property
    def compares_visits(self) -> bool:
        """Whether the cell learns from pairs of visits: then there are no axis and no saliency."""
        return compares_visits(self.config)

    @property
    def probes(self) -> list[str]:
        """Names of the heads whose loss does not reach the encoder."""
        return probes(self.config)

    @property
    def state(self) -> State:
        """State of the cell, which follows from its files and from its lock."""
        if (self.folder / "metrics.json").is_file():
            return "finished"
        if is_locked(self.folder):
            return "running"
        return "failed" if (self.folder / "failure.txt").is_file() else "waiting"

    @property
    def error(self) -> str:
        """The last line of a failure."""
        try:
            lines = (self.folder / "failure.txt").read_text(encoding="utf-8").strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1] if lines else "unknown error"


def write_cell(
    folder: Path,
    name: str,
    factors: Mapping[str, str],
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
) -> Cell:
    """Make the folder of a cell, or find that it is the same cell.

    Raises:
        PlanError: the folder holds a cell of another configuration or other settings; the message shows the
            difference.
    """
    new = {"name": name, "factors": dict(factors), "settings": dict(settings), "config": dict(config)}
    if (folder / "cell.json").is_file():
        cell = Cell.read(folder)
        old = {
            "name": cell.name, "factors": cell.factors, "settings": cell.settings, "config": cell.config,
        }  # fmt: skip
        difference = _difference(old, new)
        if difference:
            raise PlanError(
                f"cell {name!r} was made from another configuration; restore it, remove {folder}, or use "
                f"another output folder. The difference (- there, + now):\n{difference}"
            )
        return cell
    write_atomically(folder / "config.yaml", yaml.safe_dump(nested(config), sort_keys=False))
    content = {key: value for key, value in new.items() if key != "config"}
    content["probes"] = probes(config)
    write_json(folder / "cell.json", content)
    return Cell.read(folder)


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Lines that differ; settings that an older version did not write count as their defaults."""
    lines = _differing_lines(old, new)
    if lines:
        with contextlib.suppress(PlanError):
            lines = _differing_lines({**old, "config": resolve(old["config"], old["name"])}, new)
    return "\n".join(lines)


def _differing_lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    there, now = (yaml.safe_dump(_comparable(item), sort_keys=True).splitlines() for item in (old, new))
    lines = difflib.unified_diff(there, now, lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++"))]


def _comparable(content: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return {**plain, "config": config_without_places(plain["config"])}


def config_without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without values that say where and not what."""
    made = with_named_probes(config)
    made["model"]["probes"] = made["model"].get("probes") or []
    for section, key in _PLACES:
        made.get(section, {}).pop(key, None)
    return made


def lock(folder: Path) -> AbstractContextManager[bool]:
    """Hold a cell while it runs; yields False where another process holds it. Ends with the process."""
    return hold(folder / ".lock")


def is_locked(folder: Path) -> bool:
    """True while a process holds the cell."""
    try:
        with (folder / ".lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
