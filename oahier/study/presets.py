"""Levels and recipes that a study can name instead of spelling them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Overrides = Mapping[str, Any]

_BINARY = {"class_path": "oahier.BinaryHead"}
_GRADES = {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 5}}
_BINARY_PROBE = {"class_path": "oahier.BinaryHead", "init_args": {"probe": True}}
_GRADES_PROBE = {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 5, "probe": True}}
_OA_FROM_KL = {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 2, "reads": "kl"}}

SUPERVISIONS: dict[str, Overrides] = {
    "single-oa": {"model.heads": {"oa": _BINARY, "kl": _GRADES_PROBE}},
    "single-kl": {"model.heads": {"oa": _BINARY_PROBE, "kl": _GRADES}},
    "dual": {"model.heads": {"oa": _BINARY, "kl": _GRADES}},
    "dual-published": {"model.heads": {"oa": _OA_FROM_KL, "kl": _GRADES}},
}
"""Which labels teach the encoder. The other head is a probe: it reads the embedding without teaching it, so
every cell reports the same measures. ``dual-published`` has the topology of the published code, an OA head
that reads the five KL logits."""

PAPER_SUPERVISIONS: dict[str, Overrides] = {
    "single-oa": {"model.heads": {"oa": _BINARY}},
    "single-kl": {"model.heads": {"kl": _GRADES}},
    "dual": SUPERVISIONS["dual-published"],
}
"""As published: no probes, and the OA head of Dual reads the KL logits."""

PAPER_RECIPE: dict[str, Any] = {
    "trainer": {"max_epochs": 100, "limit_val_batches": 0, "num_sanity_val_steps": 0},
    "model": {
        "loss_weights": None,
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-4, "weight_decay": 1e-4}},
        "lr_scheduler": None,
    },
    "data": {"batch_size": 2, "augmentation": None},
}
"""The training of arXiv:2605.00718: a hundred epochs, no schedule, no augmentation, no validation."""

PRESETS = {"paper": PAPER_RECIPE}


def level_overrides(axis: str, level: str, value: Any, preset: str | None) -> Overrides:
    """What a level of a grid changes in the base configuration.

    Args:
        axis: name of the axis; ``backbone``, ``supervision`` and ``seed`` have levels of their own, any other
            one is the dotted name of a value.
        level: name of the level.
        value: what was written for it; ``None`` where only the name was given.
        preset: recipe of the study.

    Raises:
        ValueError: a supervision that is not known.

    >>> level_overrides("seed", "3", 3, None)
    {'seed_everything': 3}
    >>> level_overrides("backbone", "m3t", "m3t", None)
    {'model.encoder': 'm3t'}
    """
    if axis == "supervision":
        known = PAPER_SUPERVISIONS if preset == "paper" else SUPERVISIONS
        if level not in known:
            raise ValueError(
                f"grid.supervision: expected one of {sorted(known)} or a mapping of a name to its overrides "
                f"(model.heads: ...), got {level!r}"
            )
        return known[level]
    if axis == "backbone":
        return {"model.encoder": value}
    return {"seed_everything" if axis == "seed" else axis: value}
