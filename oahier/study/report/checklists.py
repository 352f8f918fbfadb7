"""Items of reporting guidelines, filled from a study's configuration, manifest and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oahier.data import ManifestError, read_manifest
from oahier.files import csv_text
from oahier.pages.text import count, listed
from oahier.reporting.checklist import Item, checklist, facts_of_config
from oahier.study.cell_files import read_predictions
from oahier.study.report.contents import Contents

_COLUMNS = ["guideline", "item", "about", "found", "missing"]


def checklist_items(contents: Contents) -> list[Item]:
    """CLAIM 2024 and TRIPOD+AI for the study; none without a finished cell."""
    if not contents.finished:
        return []
    study, cell = contents.study, contents.finished[0]
    facts = facts_of_config(cell.config)
    seeds = study.factors.get(study.replicate, ())
    if seeds:
        facts["seed"] = f"random; {count(len(seeds), 'seed')} a model ({listed(list(seeds))})"
    if "plan" in study.facts:
        facts["protocol"] = f"plan with SHA-256 {study.facts['plan']}"
    if "folds" in study.facts:
        facts["splits"] = f"{study.facts['folds']} folds of subjects, for each seed a partition of its own"
        facts["disjoint"] = "folds share no subject"
    if cell.settings.get("monitor"):
        facts["selection"] = f"epoch with the {cell.settings['mode']}imum of {cell.settings['monitor']}"
    facts["metrics"] = "all registered metrics; see the tables of this report"
    return checklist(read_predictions(cell.folder), _manifest(cell.config), facts=facts)


def checklist_csv(items: Sequence[Item]) -> str:
    """The items as a table."""
    rows = [[one.guideline, one.number, one.about, one.found, one.missing] for one in items]
    return csv_text(_COLUMNS, rows)


def _manifest(config: Any) -> Any:
    """The manifest's table; ``None`` where it is no longer there as it was."""
    try:
        return read_manifest(str(config["data"]["manifest"])).table
    except (ManifestError, OSError, ValueError):
        return None
