"""From a checkpoint to a folder that other tools can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from oahier.export.agreement import Agreement, Packed
from oahier.export.card import write_card
from oahier.export.inference import Inference, trial_volumes
from oahier.export.programs import ONNX, PROGRAM, packed_onnx, packed_program, trace
from oahier.export.weights import DESCRIPTION, WEIGHTS, packed_weights
from oahier.files import write_atomically, write_json
from oahier.prediction.trained import load_trained

Format = Literal["safetensors", "program", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)
FACTS, CARD = "export.json", "README.md"
_NAMES = (CARD, FACTS, WEIGHTS, DESCRIPTION, PROGRAM, ONNX)


@dataclass(frozen=True)
class Exported:
    """What was written, by file name, with how well it agrees with the checkpoint."""

    folder: Path
    agreements: dict[str, Agreement]


def export_checkpoint(
    checkpoint: str | Path,
    folder: str | Path,
    formats: Sequence[Format] = FORMATS,
    *,
    overwrite: bool = False,
) -> Exported:
    """Write a trained model for other tools, once every file was compared with the checkpoint.

    ``model.safetensors`` with ``model.json`` (:func:`oahier.export.load_weights` reads them), ``model.pt2``
    (``torch.export.load``), ``model.onnx`` (ONNX Runtime), ``export.json`` and a model card ``README.md``.
    Programs take any number of knees in a batch, of the volume size of the training.

    Args:
        checkpoint: written by Lightning while oahier trained.
        folder: made if absent.
        formats: which to write.
        overwrite: replace an earlier export, also its formats that are not written now, and its card with
            whatever was added to it.

    Raises:
        CheckpointError: the checkpoint cannot be loaded or does not say how volumes were preprocessed.
        ExportError: a format cannot hold the model, or its outputs differ; nothing is written then.
        ValueError: an unknown format.
        FileExistsError: files of these names are there, and ``overwrite`` is not given.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(f"formats: expected some of {', '.join(FORMATS)}, got {list(formats)}")
    folder = Path(folder)
    earlier = [folder / name for name in _NAMES if (folder / name).exists()]
    if earlier and not overwrite:
        raise FileExistsError(
            f"{earlier[0]} is there already, and may have been completed by hand; choose another folder "
            "or give --overwrite"
        )
    trained = load_trained(checkpoint)
    inference = Inference(trained.model)
    shape = trained.preprocessing.shape
    trials = [trial_volumes(shape, count, seed=count) for count in (1, 3)]
    settings = trained.preprocessing.as_dict()
    packed: dict[str, Packed] = {}
    if "safetensors" in formats:
        packed[WEIGHTS] = packed_weights(inference, settings, trials)
    packed |= _programs(inference, trials, formats)
    agreements = {name: one.agreement for name, one in packed.items()}
    facts: dict[str, Any] = {
        "checkpoint": {"name": trained.path.name, "sha256": trained.checkpoint_hash},
        "preprocessing": settings,
        "largest_difference": {name: agreement.differences for name, agreement in agreements.items()},
    }
    for one in packed.values():
        for name, content in one.files.items():
            write_atomically(folder / name, content)
    write_json(folder / FACTS, facts)
    write_card(folder / CARD, trained, agreements)
    written = {CARD, FACTS, *(name for one in packed.values() for name in one.files)}
    for path in earlier:
        if path.name not in written:  # a format of another model
            path.unlink()
    return Exported(folder, agreements)


def _programs(inference: Inference, trials: list[Tensor], formats: Sequence[Format]) -> dict[str, Packed]:
    wanted = [name for name in ("program", "onnx") if name in formats]
    if not wanted:
        return {}
    program = trace(inference, trials[-1])
    packed = {}
    if "program" in wanted:
        packed[PROGRAM] = packed_program(program, inference, trials)
    if "onnx" in wanted:
        packed[ONNX] = packed_onnx(program, inference, trials)
    return packed
