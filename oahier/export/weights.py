"""Weights as safetensors, with everything else that rebuilds a model as JSON beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from oahier.export.agreement import Agreement, ExportError, check_agreement
from oahier.export.inference import Inference
from oahier.files import write_atomically
from oahier.model import HierarchicalClassifier

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


def save_weights(
    folder: Path, inference: Inference, preprocessing: dict[str, Any], trials: list[Tensor]
) -> Agreement:
    """Write weights and description, rebuild the model from them and compare.

    Raises:
        ExportError: the package safetensors is missing, or the model does not know how it was made.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ExportError(
            "safetensors is not installed; install it with: pip install 'oahier[export]'"
        ) from error
    model = inference.model
    missing = [part for part in ("encoder", "heads") if model.specification.get(part) is None]
    if missing:
        raise ExportError(
            f"safetensors: the model does not remember how its {' and '.join(missing)} was made, so the "
            "weights could not be loaded again; make it with oahier.make(Class, ...) and train again"
        )
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    description = {"model": model.specification, "preprocessing": preprocessing}
    write_atomically(folder / DESCRIPTION, json.dumps(description, indent=2) + "\n")
    write_atomically(folder / WEIGHTS, save(state, metadata={"format": "pt"}))
    loaded = Inference(load_weights(folder))
    return check_agreement("safetensors", inference, loaded, trials)


def load_weights(folder: str | Path) -> HierarchicalClassifier:
    """The model of an exported folder (``model.safetensors`` and ``model.json``), in evaluation mode.

    Raises:
        ExportError: a file is missing or damaged, or they do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: missing file {name}; expected a folder that `oahier export` wrote")
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        model = HierarchicalClassifier.from_specification(description["model"])
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ExportError(f"{folder}: the model cannot be rebuilt from its files: {error}") from error
    return model.eval()
