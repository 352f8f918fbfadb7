"""Items of CLAIM 2024 and TRIPOD+AI, filled from predictions, manifest and configuration.

The items stand in ``checklist.csv`` in words of our own: Tejani et al. 2024 (doi:10.1148/ryai.240300) and
Collins et al. 2024 (doi:10.1136/bmj-2023-078378) have the full text, which authors must read.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oahier.clinical import Decisions, Subgroup
from oahier.hierarchy import head_label
from oahier.pages.text import count, listed
from oahier.statistics.predictions import Predictions
from oahier.types import MISSING

_ITEMS = Path(__file__).parent / "checklist.csv"
_OF_PAIRS = ("PairedVisits", "VisitPairsDataModule")
_DEMOGRAPHIC = ("age", "sex", "bmi", "race", "ethnicity")


@dataclass(frozen=True)
class Item:
    """One item of a guideline."""

    guideline: str
    number: str
    about: str
    found: str
    """What the files say; empty where they say nothing."""
    missing: str
    """What the authors have to add; empty where the files say it all."""


def checklist(
    predictions: Predictions | None,
    manifest: Any = None,
    decisions: Decisions | None = None,
    subgroups: Sequence[Subgroup] = (),
    facts: Mapping[str, str] | None = None,
) -> list[Item]:
    """Every item with what is found, or what is missing.

    Args:
        predictions: of the evaluated knees, if there are some.
        manifest: table with a row a knee.
        decisions: that the report applied.
        subgroups: that it shows.
        facts: sentences of the caller by the fact's name in ``checklist.csv``, such as ``training`` and
            ``selection`` (:func:`facts_of_config`); they come first.
    """
    found = {
        **_of_predictions(predictions, decisions, subgroups),
        **_of_manifest(manifest),
        **_software(),
        **(facts or {}),
    }
    with _ITEMS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Item(
            row["guideline"], row["item"], row["about"], found.get(row["fact"], ""),
            "" if found.get(row["fact"]) else row["author"],
        )
        for row in rows
    ]  # fmt: skip


def facts_of_config(config: Mapping[str, Any]) -> dict[str, str]:
    """Sentences of a resolved configuration (``config.yaml`` of a run)."""
    from oahier.model.section_classes import flat

    config = flat(config)
    data, model, trainer = (dict(config.get(name) or {}) for name in ("data", "model", "trainer"))
    encoder = _name(model.get("encoder"))
    heads = listed(
        [f"{head_label(name)} ({_name(spec)})" for name, spec in (model.get("heads") or {}).items()]
    )
    volumes = _input(config.get("classes") or {})
    shape, scaled = data.get("shape"), _name(data.get("preprocessing")) or "z-scored"
    found = {
        "preprocessing": f"reoriented to RAS+, {shape} voxels, {scaled}" if shape else "",
        "model": f"{encoder} from {volumes}; heads: {heads}" if encoder and heads else "",
        "seed": f"random, seed {config['seed_everything']}" if "seed_everything" in config else "",
        "training": _training(model, data, trainer),
        "balance": "training knees drawn so that grades are equally frequent" if data.get("balanced") else "",
    }
    callbacks = trainer.get("callbacks") or []
    for spec in callbacks if isinstance(callbacks, list) else [callbacks]:
        arguments = dict(spec.get("init_args") or {}) if isinstance(spec, Mapping) else {}
        if _name(spec) == "BestCheckpoint":
            monitor, mode = arguments.get("monitor", "val/kl/qwk"), arguments.get("mode", "max")
            found["selection"] = f"epoch with the {mode}imum of {monitor} on validation knees"
        if _name(spec) == "CartilageSaliency":
            found["saliency"] = "saliency compared with cartilage, beside controls"
    return {name: text for name, text in found.items() if text}


def _input(classes: Mapping[str, str]) -> str:
    """What the model takes; a class that the configuration names may take anything."""
    if "data" not in classes:
        return "one MRI volume"
    return "the MRI volumes of two visits of a knee" if _name(classes["data"]) in _OF_PAIRS else "MRI volumes"


def _training(model: Mapping[str, Any], data: Mapping[str, Any], trainer: Mapping[str, Any]) -> str:
    optimizer = _name(model.get("optimizer"))
    parts = [
        optimizer,
        f"batches of {data['batch_size']}" if "batch_size" in data else "",
        f"{trainer['max_epochs']} epochs" if trainer.get("max_epochs") else "",
        _name(model.get("lr_scheduler")),
        f"augmentation {_name(data.get('augmentation'))}" if data.get("augmentation") else "no augmentation",
    ]
    return ", ".join(part for part in parts if part) if optimizer else ""


def _name(spec: Any) -> str:
    path = spec.get("class_path", "") if isinstance(spec, Mapping) else spec
    return str(path or "").rpartition(".")[2]


def _software() -> dict[str, str]:
    from importlib.metadata import version

    return {"software": ", ".join(f"{name} {version(name)}" for name in ("oahier", "torch", "lightning"))}


def _of_predictions(
    predictions: Predictions | None, decisions: Decisions | None, subgroups: Sequence[Subgroup]
) -> dict[str, str]:
    if predictions is None:
        return {}
    subjects = len(np.unique(predictions.subject))
    events = []
    for name in predictions.heads:
        labels = predictions.labels[name]
        counts = np.bincount(labels[labels != MISSING]).tolist()
        events.append(f"{head_label(name)} {'/'.join(map(str, counts))}")
    found = {
        "test": f"{count(len(predictions), 'knee')} of {count(subjects, 'subject')}",
        "events": f"knees by class: {'; '.join(events)}",
        "metrics": "AUC, calibration intercept, slope and index, sensitivity at a specificity, net benefit",
        "intervals": "95 %, subjects as units" if predictions.subject_given else "95 %, knees as units",
        "performance": "see the tables of this report",
        "thresholds": "probabilities; decisions at 0.5 or the most probable grade",
    }
    if decisions is not None:
        found["recalibration"] = found["thresholds"] = "; ".join(decisions.describe())
    compared = list(dict.fromkeys(line.covariate for line in subgroups if not line.note))
    if compared:
        found["subgroups"] = f"subgroups by {listed(compared)}"
    fair = [name for name in compared if name.lower() in _DEMOGRAPHIC]
    if fair:
        found["fairness"] = f"compared by {listed(fair)}; see the subgroups"
    return found


def _of_manifest(manifest: Any) -> dict[str, str]:
    if manifest is None:
        return {}
    found = {"labels": ""}
    names = {str(name).lower(): str(name) for name in manifest.columns}
    split = names.get("split")
    if split and (manifest[split].astype(str) != "").any():
        counts = manifest[split].value_counts()
        found["splits"] = ", ".join(f"{name} {number}" for name, number in counts.items())
        shared = manifest.groupby("subject")[split].nunique().max()
        found["disjoint"] = "splits share no subject" if shared == 1 else ""
    unknown = []
    for name in manifest.columns:
        cells = manifest[name]
        absent = int((cells.isna() | (cells.astype(str) == "") | (cells.astype(str) == str(MISSING))).sum())
        if absent:
            unknown.append(f"{name} {absent}")
    found["missing"] = f"empty cells: {', '.join(unknown)}" if unknown else "no empty cell in the manifest"
    known = [names[name] for name in _DEMOGRAPHIC if name in names]
    if known:
        found["demographics"] = "; ".join(_described(manifest[name]) for name in known)
    return {name: text for name, text in found.items() if text}


def _described(cells: Any) -> str:
    if cells.dtype.kind in "fi":
        return f"{cells.name} mean {cells.mean():.1f}, s.d. {cells.std():.1f}"
    counts = cells[cells.astype(str) != ""].value_counts()
    if len(counts) > 12:
        return f"{cells.name}: {len(counts)} different values"
    return f"{cells.name} " + ", ".join(f"{value} {number}" for value, number in counts.items())
