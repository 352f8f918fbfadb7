"""From a checkpoint to a folder that other tools can use."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from oahier.export.agreement import Agreement, ExportError
from oahier.export.card import write_card
from oahier.export.inference import Inference, trial_volumes
from oahier.export.programs import save_onnx, save_program, trace
from oahier.export.weights import WEIGHTS, save_weights
from oahier.files import write_atomically
from oahier.prediction.trained import load_trained

Format = Literal["safetensors", "program", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class Exported:
    """What was written, by file name, with how well it agrees with the checkpoint."""

    folder: Path
    agreements: dict[str, Agreement]


def export_checkpoint(
    checkpoint: str | Path, folder: str | Path, formats: Sequence[Format] = FORMATS
) -> Exported:
    """Write a trained model for other tools, each file compared with the checkpoint before it is kept.

    ``model.safetensors`` with ``model.json`` (:func:`oahier.export.load_weights` reads them), ``model.pt2``
    (``torch.export.load``), ``model.onnx`` (ONNX Runtime), ``export.json`` and a model card ``README.md``.
    Programs take any number of knees in a batch, of the volume size of the training.

    Args:
        checkpoint: written by Lightning while oahier trained.
        folder: made if absent; files of the same names are replaced.
        formats: which to write.

    Raises:
        CheckpointError: the checkpoint cannot be loaded or does not say how volumes were preprocessed.
        ExportError: a format cannot hold the model, or its outputs differ.
        ValueError: an unknown format.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(f"formats: expected some of {', '.join(FORMATS)}, got {list(formats)}")
    trained = load_trained(checkpoint)
    folder = Path(folder)
    inference = Inference(trained.model)
    shape = trained.preprocessing.shape
    trials = [trial_volumes(shape, count, seed=count) for count in (1, 3)]
    agreements: dict[str, Agreement] = {}
    if "safetensors" in formats:
        settings = trained.preprocessing.as_dict()
        agreements[WEIGHTS] = save_weights(folder, inference, settings, trials)
    agreements |= _programs(folder, inference, trials, formats)
    facts: dict[str, Any] = {
        "checkpoint": trained.identity,
        "preprocessing": trained.preprocessing.as_dict(),
        "largest_difference": {name: agreement.differences for name, agreement in agreements.items()},
    }
    write_atomically(folder / "export.json", json.dumps(facts, indent=2) + "\n")
    write_card(folder / "README.md", trained, agreements)
    return Exported(folder, agreements)


def _programs(
    folder: Path, inference: Inference, trials: list[Tensor], formats: Sequence[Format]
) -> dict[str, Agreement]:
    savers: dict[Format, Callable[[Any, Path, Inference, list[Tensor]], Agreement]] = {
        "program": save_program,
        "onnx": save_onnx,
    }
    names = {"program": "model.pt2", "onnx": "model.onnx"}
    wanted = [name for name in savers if name in formats]
    if not wanted:
        return {}
    program = trace(inference, trials[-1])
    return {names[name]: savers[name](program, folder / names[name], inference, trials) for name in wanted}


__all__ = ["FORMATS", "ExportError", "Exported", "Format", "export_checkpoint"]
