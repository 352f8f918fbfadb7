"""Parts of a batch that keep their precision while the volumes take that of half-precision weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L

EXACT = ("affine", "targets")
"""Geometry in millimetres, and measurements: three digits of bfloat16 would move voxels and labels."""


def keep_exact(trainer: L.Trainer) -> None:
    """Let the trainer's conversion of batches (``bf16-true``, ``16-true``) leave :data:`EXACT` as they come.

    Lightning converts every floating tensor of a batch before any hook of a model or data module sees it.
    """
    plugin: Any = trainer.precision_plugin
    if getattr(plugin, "_oahier_exact", False):
        return
    convert = plugin.convert_input

    def converted(batch: Any) -> Any:
        made = convert(batch)
        if isinstance(batch, Mapping) and isinstance(made, dict):
            made.update({name: batch[name] for name in EXACT if name in batch})
        return made

    plugin.convert_input, plugin._oahier_exact = converted, True
