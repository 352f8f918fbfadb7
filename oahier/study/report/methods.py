"""A methods section, put together from the configurations and facts of the cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE, OA_FROM_GRADE, head_label
from oahier.metrics import Decoding, MostProbable
from oahier.pages.text import count, listed, number
from oahier.specs import build
from oahier.statistics import Predictions
from oahier.study.cell_files import read_facts, read_predictions
from oahier.study.cells import Cell
from oahier.study.report.contents import Contents
from oahier.study.report.methods_analysis import geometry, saliency, statistics
from oahier.study.report.names import level_name, metric_name
from oahier.types import MISSING

_SCHEDULES = {"CosineSchedule": "a cosine schedule", "CosineAnnealingLR": "a cosine schedule"}


@dataclass(frozen=True)
class Trained:
    """A finished cell with what is known of it."""

    cell: Cell
    config: Mapping[str, Any]
    facts: Mapping[str, Any]


def methods(contents: Contents) -> list[str]:
    """Paragraphs on data, models, training and statistics; ``[@name]`` stands for a citation."""
    found = [Trained(cell, cell.config, read_facts(cell)) for cell in contents.finished]
    trained = [item for item in found if item.facts.get("network", True)]
    if not trained:
        return []
    paragraphs = [
        _design(contents) + _cohort(trained),
        _models(contents, trained),
        _training(contents, trained),
        statistics(contents),
        geometry(contents) + saliency(contents),
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
    sentences += _protocol(study.facts)
    if study.preset == "paper":
        sentences.append("The recipe is that of the published study [@study].")
    return sentences


def _protocol(facts: Mapping[str, Any]) -> list[str]:
    """Folds, the control without a network, and the digest of the plan."""
    sentences = []
    if "folds" in facts:
        sentences.append(
            f"Each seed had a partition of the subjects into {facts['folds']} folds of its own; every knee "
            "was tested once by a model that had not seen its subject, and predictions of folds were pooled."
        )
    if facts.get("measured"):
        sentences.append(
            "A control without a network was a multinomial logistic regression of "
            f"{listed(facts['measured'])} on the same folds."
        )
    if facts.get("plan"):
        earlier = facts.get("earlier_plans") or []
        changed = f", after {count(len(earlier), 'earlier version')}" if earlier else ""
        sentences.append(f"The plan was recorded before training (SHA-256 {facts['plan']}{changed}).")
    return sentences


def _cohort(trained: Sequence[Trained]) -> list[str]:
    splits, pairs = trained[0].facts.get("split_knees", {}), trained[0].cell.compares_visits
    tables = {
        "training": _first_table(trained, "train"),
        "test": _first_table(trained, ""),
    }
    amounts = {
        "training": splits.get("train", _length(tables["training"])),
        "validation": splits.get("val", 0),
        "test": (0 if pairs else _length(tables["test"])) or splits.get("test", 0),
    }
    noun = "scan" if pairs else "knee"
    parts = [count(int(amount), f"{split} {noun}") for split, amount in amounts.items() if amount]
    sentences = [f"There were {listed(parts)}, split by subject."] if parts else []
    test = tables["test"]
    if pairs:
        sentences.append(f"Models compared two visits of a knee, in the test {count(_length(test), 'pair')}.")
    if test is not None and test.subject_given:
        sentences.append(
            f"The test {noun}s came from {count(len(set(test.subject.tolist())), 'subject')}, who had no "
            "part in training or model selection."
        )
    classes = range(DEFAULT_HIERARCHY.num_classes(FINE))
    grades = {
        split: "/".join(str((table.labels[FINE] == grade).sum()) for grade in classes)
        for split, table in tables.items()
        if table is not None and (table.labels[FINE] != MISSING).any()
    }
    if grades:
        parts = [f"{counts} in the {split} split" for split, counts in grades.items()]
        sentences.append(
            f"Numbers of knees with Kellgren-Lawrence ({head_label(FINE)}) grade "
            f"{'/'.join(map(str, classes))} were {listed(parts)}."
        )
    if test is not None:
        fine, coarse = test.labels[FINE], test.labels[COARSE]
        both = (fine != MISSING) & (coarse != MISSING)
        disease = f"Osteoarthritis ({head_label(COARSE)})"
        if both.any() and ((fine >= OA_FROM_GRADE) == (coarse == 1))[both].all():
            sentences.append(f"{disease} is {head_label(FINE)} grade {OA_FROM_GRADE} or more [@kl].")
        elif both.any():
            sentences.append(f"{disease} was labelled independently of the {head_label(FINE)} grade [@kl].")
    return sentences


def _first_table(trained: Sequence[Trained], split: str) -> Predictions | None:
    """The predictions with most labels, which all cells share."""
    tables = [read_predictions(item.cell.folder / split) for item in trained]
    found = [table for table in tables if table is not None]
    return max(found, key=_labels, default=None)


def _labels(table: Predictions) -> int:
    return sum(bool((labels != MISSING).any()) for labels in table.labels.values())


def _length(table: Predictions | None) -> int:
    return 0 if table is None else len(table)


def _models(contents: Contents, trained: Sequence[Trained]) -> list[str]:
    shape = _told(contents, trained, lambda item: _times(item.config["data"].get("shape")))
    spacing = _told(contents, trained, lambda item: _lengths(item.facts.get("spacing")))
    sentences = [
        "Volumes were reoriented to RAS"
        + (f", resampled to voxels of {spacing} mm" if spacing else "")
        + (f", cropped or padded to {shape} voxels" if shape else "")
        + " and z-scored."
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
        text = f"the encoder is supervised by {listed([_head(one) for one in heads if one not in probes])}"
        if probes:
            text += f", and {listed([_head(head) for head in probes])} is read out by a probe"
        found.setdefault(name, text)
    if len(found) > 1 and len(set(found.values())) == 1:
        found = {"All models": text}
    probed = "A probe is trained on the detached embedding: its gradients do not reach the encoder."
    told = f"{'; '.join(f'{name}: {text}' for name, text in found.items())}."
    return [told, probed] if any(item.cell.probes for item in trained) else [told]


def _head(name: str) -> str:
    return f"the {head_label(name)} grade" if name == FINE else head_label(name)


def _training(contents: Contents, trained: Sequence[Trained]) -> list[str]:
    told: Callable[[Callable[[Trained], str]], str] = lambda read: _told(contents, trained, read)  # noqa: E731
    optimizer = told(lambda item: _optimizer(item.config["model"].get("optimizer")))
    batch = told(lambda item: str(item.config["data"].get("batch_size", "")))
    epochs = told(lambda item: _epochs(item.config["trainer"].get("max_epochs")))
    sentences = [
        "Training"
        + (f" used {optimizer}" if optimizer else "")
        + (f" with batches of {batch}" if batch else "")
        + (f" for {epochs}" if epochs else "")
        + "."
    ]
    schedule = told(lambda item: _class_name(item.config["model"].get("lr_scheduler")))
    augmentation = told(lambda item: _augmentation(item.config["data"].get("augmentation")))
    sentences += [
        f"The learning rate followed {schedule}." if schedule else "The learning rate was constant.",
        f"Training volumes were augmented ({augmentation})."
        if augmentation
        else "Training volumes were not augmented.",
    ]
    if any(item.config["data"].get("balanced") for item in trained):
        sentences.append("Training knees were drawn such that all grades were equally frequent.")
    monitor = trained[0].cell.settings.get("monitor")
    if monitor:
        extreme = "largest" if trained[0].cell.settings.get("mode", "max") == "max" else "smallest"
        sentences.append(
            f"The weights of the epoch with the {extreme} {_monitor(str(monitor))} on the validation knees "
            "were kept; the test knees were used once, after that."
        )
    else:
        sentences.append("The weights of the last epoch were tested; no model was selected on validation.")
    return [*sentences, _decoding(trained[0].cell.settings.get("decoding"))]


def _decoding(rule: Any) -> str:
    """The rule by which probabilities became grades, which is that of the whole study.

    >>> _decoding({"class_path": "oahier.metrics.WeightedMedian"})
    'The decided grade was the median grade (mean absolute error).'
    """
    decoding = build(rule, Decoding) if rule else MostProbable()
    return f"The decided grade was the {decoding.describe()}."


def _monitor(key: str) -> str:
    *head, metric = key.split("/")[1:] or [key]
    return f"{metric_name(metric)} of {_head(head[0])}" if head else metric_name(metric)


def _optimizer(spec: Any) -> str:
    if isinstance(spec, str):
        spec = {"class_path": spec}
    if not isinstance(spec, Mapping):
        return "AdamW [@adamw]"
    name = str(spec.get("class_path", "")).rpartition(".")[2]
    cited = {"AdamW": " [@adamw]", "Adam": " [@adam]"}.get(name, "")
    words = {"lr": "learning rate", "weight_decay": "weight decay", "momentum": "momentum"}
    values = spec.get("init_args") or {}
    given = [
        f"{text} {values[key]:g}" for key, text in words.items() if isinstance(values.get(key), (int, float))
    ]
    return f"{name}{cited}" + (f" ({', '.join(given)})" if given else "")


def _epochs(value: Any) -> str:
    return count(value, "epoch") if isinstance(value, int) and value > 0 else ""


def _class_name(spec: Any) -> str:
    path = str(spec.get("class_path", "") if isinstance(spec, Mapping) else spec or "")
    return _SCHEDULES.get(path.rpartition(".")[2], path.rpartition(".")[2])


def _augmentation(spec: Any) -> str:
    """Its name, with TorchIO cited where that draws it."""
    path = spec.get("class_path", "") if isinstance(spec, Mapping) else ""
    return _class_name(spec) + " [@torchio]" * ("torchio" in path.lower())


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
