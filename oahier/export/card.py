"""Model card: model, data, results and limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import oahier
from oahier.export.agreement import Agreement
from oahier.export.data_section import data_section
from oahier.files import write_atomically
from oahier.hierarchy import COARSE, FINE, OA_FROM_GRADE
from oahier.metrics import find_metrics
from oahier.pages.text import from_to
from oahier.prediction.trained import TrainedModel


def write_card(path: Path, trained: TrainedModel, agreements: Mapping[str, Agreement]) -> Path:
    """Write a model card in Markdown (Mitchell et al. 2019, doi:10.1145/3287560.3287596).

    Figures come from ``metrics.json`` of the run that the checkpoint lies in, if that checkpoint is the one
    that was tested; what is not known is said to be unknown.
    """
    sections = [_head(trained), _model(trained), data_section(trained.summary), _preprocessing(trained)]
    sections += [_figures(trained), _formats(agreements), _LIMITS, _citation()]
    return write_atomically(path, "\n\n".join(sections) + "\n")


def _head(trained: TrainedModel) -> str:
    return (
        "---\nlibrary_name: oahier\npipeline_tag: image-classification\n"
        "tags: [knee, osteoarthritis, MRI, Kellgren-Lawrence]\n---\n\n"
        f"# Knee-osteoarthritis model `{trained.path.stem}`\n\n"
        f"**For research only; not a medical device.** From a knee MRI it estimates {_targets(trained)}. "
        f"Trained and exported with oahier {oahier.__version__}. Add a licence before you publish "
        "it: weights trained on a data set are bound by the terms of that data set."
    )


def _targets(trained: TrainedModel) -> str:
    """Labels that the heads estimate, in words."""
    known = {
        COARSE: f"whether there is radiographic osteoarthritis (OA, KL >= {OA_FROM_GRADE})",
        FINE: "the Kellgren-Lawrence (KL) grade that readers of the radiograph would give",
    }
    targets = dict.fromkeys(trained.model.target_of(head) for head in trained.model.heads)
    return " and ".join(known.get(target, f"`{target}`") for target in targets)


def _model(trained: TrainedModel) -> str:
    model = trained.model
    encoder = model.specification.get("encoder")
    name = encoder if isinstance(encoder, str) else json.dumps(encoder)
    count = sum(parameter.numel() for parameter in model.parameters())
    rows = [f"| encoder | `{name}` |", f"| embedding | {model.encoder.num_features} numbers |"]
    rows.append(f"| parameters | {count:,} |")
    for head in model.heads:
        kind = model.specification.get("heads", {}).get(head)
        rows.append(f"| head `{head}` | `{json.dumps(kind)}` |")
    rows.append(f"| checkpoint | `{trained.path.name}`, SHA-256 `{trained.checkpoint_hash}` |")
    return "## Model\n\n| | |\n|---|---|\n" + "\n".join(rows)


def _preprocessing(trained: TrainedModel) -> str:
    settings = trained.preprocessing.as_dict()
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in settings.items())
    return (
        "## Input\n\n`mri`, float32 `(batch, 1, i, j, k)`, axes to the right, anterior, superior, resampled, "
        "cropped or padded about the centre of the scan and z-scored over the voxels that the scan covers. "
        "`oahier predict` does this; other programs have to.\n\n| | |\n|---|---|\n" + rows
    )


def _figures(trained: TrainedModel) -> str:
    """Test figures of the checkpoint ``<run>/checkpoints/<name>.ckpt``, if it is the one that was tested."""
    path = trained.path.parent.parent / "metrics.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values = {key: value for key, value in content["metrics"].items() if key.count("/") == 2}
        tested = content["checkpoint"] or {"name": "", "sha256": ""}
        name, is_this = tested["name"], tested["sha256"] == trained.checkpoint_hash
        untested = content["stage"] != "test"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        untested = True
    if untested:
        return "## Figures\n\nNo test was run beside the checkpoint (`oahier test`); nothing is claimed."
    if not is_this:
        other = f"of another file, then named `{name}`" if name else "of weights in memory"
        return (
            f"## Figures\n\nThis checkpoint was not tested: the figures beside it are {other}. Test it "
            "(`oahier test --ckpt_path`) and export it again; nothing is claimed."
        )
    intervals = content.get("intervals", {})
    rows = []
    for key, value in sorted(values.items()):
        _, head, metric = key.split("/")
        known = find_metrics(metric)
        if known and known[0].compared and isinstance(value, (int, float)):
            low_high = intervals.get(key)
            defined = low_high and None not in low_high
            interval = from_to(*low_high) if defined else ""
            rows.append(f"| {head} | {known[0].title} | {value:.3f} | {interval} |")
    header = (
        f"## Figures\n\nOn {content.get('knees', 'the')} test knees of the run, intervals by resampling "
        "subjects.\n\n| head | metric | value | 95 % interval |\n|---|---|---|---|\n"
    )
    return header + "\n".join(rows)


def _formats(agreements: Mapping[str, Agreement]) -> str:
    rows = [
        f"| `{name}` | {agreement.largest:.1e} | {', '.join(map(str, agreement.batches))} |"
        for name, agreement in agreements.items()
    ]
    return (
        "## Files\n\nEach was read back and compared with the checkpoint on smooth random volumes; outputs "
        "are `probability_<head>`, `severity_<head>` (the expected grade) and `embedding`.\n\n"
        "| file | largest difference | batch sizes |\n|---|---|---|\n" + "\n".join(rows)
    )


_LIMITS = (
    "## Limits\n\n"
    "- Not validated for any clinical use; no decision about a person may rest on it.\n"
    "- Labels are noisy: readers agree on the exact KL grade in about 55 to 85 % of knees, and the grade is "
    "read from a radiograph, not from this image.\n"
    "- Scanners, sequences, fields of view and people unlike those of the training are outside of what was "
    "tested; `oahier predict` flags unusual embeddings, which catches some of them.\n"
    "- Mirrored, cropped or differently oriented volumes give wrong answers without a warning if they are "
    "not preprocessed as above."
)


def _citation() -> str:
    return (
        "## Citation\n\nT. Zhang, *Learning Coarse-to-Fine Osteoarthritis Representations under Noisy "
        "Hierarchical Labels*, arXiv:2605.00718, 2026."
    )
