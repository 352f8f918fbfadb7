"""A methods section, put together from the configurations and facts of the cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from oahier.hierarchy import OA_FROM_GRADE
from oahier.study.cells import Cell
from oahier.study.report.contents import Contents, read_facts, read_predictions
from oahier.study.report.names import level_name
from oahier.study.report.text import count, listed, number
from oahier.types import KL_GRADES


@dataclass(frozen=True)
class Trained:
    """A finished cell with what is known of it."""

    cell: Cell
    config: Mapping[str, Any]
    facts: Mapping[str, Any]


def methods(contents: Contents) -> list[str]:
    """Paragraphs on data, models, training and statistics; ``[@name]`` stands for a citation."""
    trained = [Trained(cell, cell.config, read_facts(cell)) for cell in contents.finished]
    if not trained:
        return []
    paragraphs = [
        _design(contents) + _cohort(contents, trained),
        _models(contents, trained),
        _training(contents, trained),
        _statistics(contents),
        _geometry(contents) + _saliency(contents, trained),
    ]
    return [" ".join(sentences) for sentences in paragraphs if sentences]


def _design(contents: Contents) -> list[str]:
    study = contents.study
    axes = [
        f"{axis} ({listed([level_name(level) for level in levels])})"
        for axis, levels in study.factors.items()
        if axis != study.replicate
    ]
    sentences = []
    if axes:
        sentences.append(f"We compared models by {listed(axes)}.")
    seeds = study.factors.get(study.replicate, [])
    if len(seeds) > 1:
        sentences.append(f"Each was trained with {count(len(seeds), 'random seed')} ({listed(seeds)}).")
    else:
        sentences.append("Each was trained once, so variation between trainings was not measured.")
    missing = len(study.cells) - len(contents.finished)
    if missing:
        sentences.append(
            f"{count(missing, 'training')} of {len(study.cells)} did not finish and "
            f"{'is' if missing == 1 else 'are'} not part of the results."
        )
    if study.preset == "paper":
        sentences.append("The recipe is that of the published study [@study].")
    return sentences


def _cohort(contents: Contents, trained: Sequence[Trained]) -> list[str]:
    splits = trained[0].facts.get("split_knees", {})
    tables = {
        "training": _first_table(trained, "train"),
        "test": _first_table(trained, ""),
    }
    amounts = {
        "training": splits.get("train", _length(tables["training"])),
        "validation": splits.get("val", 0),
        "test": _length(tables["test"]) or splits.get("test", 0),
    }
    parts = [count(int(amount), f"{split} knee") for split, amount in amounts.items() if amount]
    sentences = [f"There were {listed(parts)}, split by subject."] if parts else []
    test = tables["test"]
    if test is not None and "subject" in test:
        sentences.append(
            f"The test knees came from {count(test['subject'].nunique(), 'subject')}, who had no part in "
            "training or model selection."
        )
    grades = {
        split: "/".join(str((table["label_kl"] == grade).sum()) for grade in range(KL_GRADES))
        for split, table in tables.items()
        if table is not None and "label_kl" in table and table["label_kl"].notna().any()
    }
    if grades:
        parts = [f"{counts} in the {split} split" for split, counts in grades.items()]
        sentences.append(f"Numbers of knees with Kellgren-Lawrence (KL) grade 0/1/2/3/4 were {listed(parts)}.")
    if test is not None and {"label_kl", "label_oa"} <= set(test):
        both = test.dropna(subset=["label_kl", "label_oa"])
        if len(both) and bool(((both["label_kl"] >= OA_FROM_GRADE) == both["label_oa"].astype(bool)).all()):
            sentences.append(f"Osteoarthritis (OA) is KL grade {OA_FROM_GRADE} or more [@kl].")
        elif len(both):
            sentences.append("Osteoarthritis (OA) was labelled independently of the KL grade [@kl].")
    return sentences


def _first_table(trained: Sequence[Trained], split: str) -> pd.DataFrame | None:
    """The predictions with most labels, which all cells share."""
    tables = [read_predictions(item.cell.folder / split) for item in trained]
    found = [table for table in tables if table is not None]
    return max(found, key=lambda table: ("label_kl" in table) + ("label_oa" in table), default=None)


def _length(table: pd.DataFrame | None) -> int:
    return 0 if table is None else len(table)


def _models(contents: Contents, trained: Sequence[Trained]) -> list[str]:
    shape = _told(contents, trained, lambda item: _times(item.config["data"].get("shape")))
    spacing = _told(contents, trained, lambda item: _lengths(item.facts.get("spacing")))
    sentences = [
        "Volumes were turned to right-anterior-superior axes"
        + (f", resampled to voxels of {spacing} mm" if spacing else "")
        + (f", cropped or padded to {shape} voxels" if shape else "")
        + " and z-scored [@torchio]."
    ]
    sizes = _told(contents, trained, lambda item: _parameters(item.facts.get("parameters")))
    names = {level for axis, levels in contents.study.factors.items() for level in levels}
    cited = "".join(f" [@{name}]" for name in ("resnet3d", "m3t", "nnmamba") if name in names)
    if sizes:
        sentences.append(f"Encoders had {sizes} parameters{cited}.")
    sentences += _supervision(contents, trained)
    return sentences


def _supervision(contents: Contents, trained: Sequence[Trained]) -> list[str]:
    found: dict[str, str] = {}
    for item in trained:
        name = contents.contrast(item.cell.factors) or "All models"
        heads = item.config["model"]["heads"]
        probes = [head for head in heads if head in item.cell.probes]
        teachers = [head for head in heads if head not in probes]
        text = f"{name}: the encoder learns from {listed([_head(head) for head in teachers])}"
        if probes:
            text += f", and {listed([_head(head) for head in probes])} is read out by a probe"
        found.setdefault(name, text)
    sentences = [f"{'; '.join(found.values())}."]
    if any(item.cell.probes for item in trained):
        sentences.append("A probe is trained on the detached embedding and does not teach the encoder.")
    return sentences


def _head(name: str) -> str:
    return {"oa": "OA", "kl": "the KL grade"}.get(name, name)


def _training(contents: Contents, trained: Sequence[Trained]) -> list[str]:
    told: Callable[[Callable[[Trained], str]], str] = lambda read: _told(contents, trained, read)  # noqa: E731
    optimizer = told(lambda item: _optimizer(item.config["model"].get("optimizer")))
    batch = told(lambda item: str(item.config["data"].get("batch_size", "")))
    epochs = told(lambda item: _epochs(item.config["trainer"].get("max_epochs")))
    sentences = [
        "Training"
        + (f" used {optimizer}" if optimizer else "")
        + (f", batches of {batch}" if batch else "")
        + (f" and {epochs}" if epochs else "")
        + "."
    ]
    extras = [
        told(lambda item: _class_words(item.config["model"].get("lr_scheduler"), "learning-rate schedule")),
        told(lambda item: _class_words(item.config["data"].get("augmentation"), "augmentation")),
    ]
    sentences.append(f"There was {listed([extra for extra in extras if extra])}.")
    if any(item.config["data"].get("balanced") for item in trained):
        sentences.append("Training knees were drawn such that all grades were equally frequent.")
    monitor = trained[0].cell.settings.get("monitor")
    if monitor:
        extreme = "largest" if trained[0].cell.settings.get("mode", "max") == "max" else "smallest"
        sentences.append(
            f"The weights of the epoch with the {extreme} {_monitor(str(monitor))} on the validation knees were "
            "kept; the test knees were used once, after that."
        )
    else:
        sentences.append("The weights of the last epoch were tested; no model was selected on validation.")
    return sentences


def _monitor(key: str) -> str:
    from oahier.study.report.names import metric_name

    *_, head, metric = ["", *key.split("/")]
    return f"{metric_name(metric)} of {_head(head)}" if head in ("oa", "kl") else metric_name(metric)


def _optimizer(spec: Any) -> str:
    if isinstance(spec, str):
        spec = {"class_path": spec}
    if not isinstance(spec, Mapping):
        return "AdamW [@adamw]"
    name = str(spec.get("class_path", "")).rpartition(".")[2]
    cited = {"AdamW": " [@adamw]", "Adam": " [@adam]"}.get(name, "")
    words = {"lr": "learning rate", "weight_decay": "weight decay", "momentum": "momentum"}
    values = spec.get("init_args") or {}
    given = [f"{text} {values[key]:g}" for key, text in words.items() if isinstance(values.get(key), (int, float))]
    return f"{name}{cited}" + (f" ({', '.join(given)})" if given else "")


def _epochs(value: Any) -> str:
    return count(value, "epoch") if isinstance(value, int) and value > 0 else ""


def _class_words(spec: Any, noun: str) -> str:
    if spec is None:
        return f"no {noun}"
    name = spec.get("class_path", "") if isinstance(spec, Mapping) else str(spec)
    return f"{noun} ({str(name).rpartition('.')[2]})"


def _times(values: Any) -> str:
    return " × ".join(str(value) for value in values) if values else ""


def _lengths(values: Any) -> str:
    return " × ".join(f"{value:.3g}" for value in values) if values else ""


def _parameters(value: Any) -> str:
    if value is None:
        return ""
    return f"{number(value / 1e6)} million" if value >= 10_000 else f"{value:,}"


def _told(contents: Contents, trained: Sequence[Trained], read: Callable[[Trained], str]) -> str:
    """A value; where it is not the same in all cells, with the levels that have it."""
    values: dict[str, list[str]] = {}
    for item in trained:
        name = contents.group(item.cell.factors) or contents.contrast(item.cell.factors)
        names = values.setdefault(read(item), [])
        if name not in names:
            names.append(name)
    if len(values) == 1:
        return next(iter(values))
    return listed([f"{value or 'none'} ({listed(names)})" for value, names in values.items()])


def _statistics(contents: Contents) -> list[str]:
    headline, compared = contents.tables.get("headline"), contents.tables.get("comparisons")
    settings = _settings(contents)
    amount = f" ({settings['resamples']:,} resamples)" if "resamples" in settings else ""
    sentences = []
    if headline is not None:
        units = _values(headline, "resampled")
        sentences.append(
            f"Intervals are 95 % percentile intervals of the bootstrap{amount} over "
            f"{listed(units) or 'subjects'} [@bootstrap]"
            + (" [@hierarchical]" if any("seed" in unit for unit in units) else "")
            + "; all knees of a subject are resampled together."
        )
    if compared is not None:
        tests = _values(compared, "test")
        cited = "".join(
            reference
            for word, reference in (("mcnemar", " [@mcnemar]"), ("delong", " [@delong] [@sun]"))
            if any(word in test.lower() for test in tests)
        )
        sentences.append(
            "Models were compared on the same test knees"
            + (f" by {listed([test.replace('_', ' ') for test in tests])}{cited}" if tests else "")
            + "."
        )
        corrections = _values(compared, "correction")
        if corrections:
            named = [_correction(name) for name in corrections]
            amount = count(int(compared["p_adjusted"].notna().sum()), "comparison")
            sentences.append(f"p-values were corrected for {amount} by {listed(named)}.")
    undefined = sum(
        int(table["undefined"].fillna(0).gt(0).sum())
        for table in (headline, compared)
        if table is not None and "undefined" in table
    )
    if undefined:
        sentences.append(f"{count(undefined, 'estimate')} had undefined resamples, which the tables count.")
    return sentences


def _settings(contents: Contents) -> dict[str, Any]:
    """Settings of the statistics, where they were written."""
    path = contents.study.folder / "tables" / "statistics.json"
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return dict(content) if isinstance(content, dict) else {}


def _values(table: pd.DataFrame, column: str) -> list[str]:
    return list(dict.fromkeys(table[column].dropna().astype(str))) if column in table else []


def _correction(name: str) -> str:
    plain = name.lower()
    if plain.startswith(("bh", "benjamini", "fdr")):
        return "the method of Benjamini and Hochberg [@benjamini]"
    return "the method of Holm [@holm]" if plain.startswith("holm") else name


def _geometry(contents: Contents) -> list[str]:
    axis = contents.tables.get("axis")
    if axis is None:
        return []
    cited = ", and the trend over the grades by the Jonckheere-Terpstra test [@jonckheere]"
    return [
        "The severity axis is the first principal component of the embeddings of the training knees, "
        "standardised by their mean and standard deviation; it was measured on the test knees by the absolute "
        "Spearman correlation of the projection with KL and OA, the AUC of a one-dimensional logistic probe "
        f"for OA, and the separation of neighbouring grades{cited if 'trend_z' in axis else ''}."
    ]


def _saliency(contents: Contents, trained: Sequence[Trained]) -> list[str]:
    table = contents.tables.get("saliency")
    if table is None:
        return []
    methods = sorted({str(method).rpartition("-")[0] or str(method) for method in table["method"]})
    named = []
    if any("cam" in method for method in methods):
        named.append("Grad-CAM [@gradcam]" if "gradcam" in methods else "class activation maps [@gradcam]")
    if "smoothgrad" in methods:
        named.append("SmoothGrad × input [@smoothgrad]")
    sentence = f"Saliency by {listed(named or methods)} was compared with the cartilage mask on the test knees"
    controls = ["chance"]
    if np.isfinite(table["other_cartilage"].astype(float)).any():
        controls.append("the same map in the cartilage of other test knees")
    if np.isfinite(table["randomised"].astype(float)).any():
        controls.append("a head with random weights [@sanity]")
    return [f"{sentence}, and with {listed(controls)}."]
