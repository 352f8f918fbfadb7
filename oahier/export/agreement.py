"""Comparison of an exported model with the model it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oahier.export.inference import Inference

TOLERANCE = 1e-4
"""Largest difference of a probability or a grade; of an embedding, relative to its largest number."""

Outputs = Mapping[str, Tensor]


class ExportError(ValueError):
    """A model that cannot be exported, or gives other outputs afterwards; the message says what to do."""


@dataclass(frozen=True)
class Agreement:
    """Largest difference of each output over the trial volumes."""

    differences: dict[str, float]
    batches: tuple[int, ...]

    @property
    def largest(self) -> float:
        """The largest of all."""
        return max(self.differences.values())


@dataclass(frozen=True)
class Packed:
    """The files of a format by name, compared with the model and not written yet."""

    files: dict[str, bytes]
    agreement: Agreement


def check_agreement(
    format_name: str, inference: Inference, run: Callable[[Tensor], Outputs], batches: Sequence[Tensor]
) -> Agreement:
    """Compare a program with the model on batches of several sizes.

    Raises:
        ExportError: an output is missing or differs by more than :data:`TOLERANCE`.
    """
    differences: dict[str, float] = {}
    for mri in batches:
        with torch.no_grad():
            expected: Outputs = inference(mri)
            found = run(mri)
        if set(found) != set(expected):
            raise ExportError(f"{format_name}: expected outputs {sorted(expected)}, got {sorted(found)}")
        for name, value in expected.items():
            scale = max(1.0, float(value.abs().max())) if name == "embedding" else 1.0
            difference = float((found[name] - value).abs().max()) / scale
            differences[name] = max(differences.get(name, 0.0), difference)
    worst = max(differences, key=lambda name: differences[name])
    if not differences[worst] <= TOLERANCE:  # also where it is NaN
        raise ExportError(
            f"{format_name}: {worst} differs by {differences[worst]:.3g} from the model's, expected at most "
            f"{TOLERANCE:g}; nothing was written"
        )
    return Agreement(differences, tuple(len(mri) for mri in batches))
