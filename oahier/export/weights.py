"""Weights as safetensors, with everything else that rebuilds a model as JSON beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from oahier.export.agreement import ExportError, Packed, check_agreement
from oahier.export.inference import Inference
from oahier.model import HierarchicalClassifier

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


def packed_weights(inference: Inference, preprocessing: dict[str, Any], trials: list[Tensor]) -> Packed:
    """Weights and description; the model is rebuilt from their bytes and compared.

    Raises:
        ExportError: the package safetensors is missing, the model does not know how it was made, or the
            rebuilt model says something else.
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
    files = {
        DESCRIPTION: (json.dumps(description, indent=2) + "\n").encode(),
        WEIGHTS: save(state, metadata={"format": "pt"}),
    }
    loaded = Inference(_rebuilt("safetensors", files[DESCRIPTION], files[WEIGHTS]))
    return Packed(files, check_agreement("safetensors", inference, loaded, trials))


def load_weights(folder: str | Path) -> HierarchicalClassifier:
    """The model of an exported folder (``model.safetensors`` and ``model.json``), in evaluation mode.

    Raises:
        ExportError: a file is missing or damaged, or they do not belong together.
    """
    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: missing file {name}; expected a folder that `oahier export` wrote")
    return _rebuilt(str(folder), (folder / DESCRIPTION).read_bytes(), (folder / WEIGHTS).read_bytes())


def _rebuilt(source: str, description: bytes, weights: bytes) -> HierarchicalClassifier:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        model = HierarchicalClassifier.from_specification(json.loads(description)["model"])
        model.load_state_dict(load(weights))
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ExportError(f"{source}: the model cannot be rebuilt from its files: {error}") from error
    return model.eval()
