"""Weights of other programs' files by name: safetensors, and what torch saved, read without unpickling."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oahier.specs.errors import first_line


class PretrainedError(ValueError):
    """A file of pretrained weights is damaged, holds pickled objects, or does not fit the encoder."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a file that ``torch.save`` wrote.

    Of a file with several collections (a training's checkpoint), the one with the most tensors:
    ``state_dict`` of Lightning and MedicalNet, ``network_weights`` of nnU-Net and OpenMind, ``model`` of
    others.

    Raises:
        PretrainedError: no such file, a damaged one, one with pickled objects, or one without tensors.
        ImportError: the package safetensors is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise PretrainedError(f"pretrained weights {path}: no such file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    collections = [content, *(content.values() if isinstance(content, Mapping) else ())]
    best = max((_tensors(one) for one in collections), key=len)
    if not best:
        raise PretrainedError(f"pretrained weights {path}: no tensors by name in it, expected a state_dict")
    return best


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(f"{path} needs safetensors: pip install 'oahier[export]'") from error
    try:
        weights: Mapping[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise PretrainedError(f"pretrained weights {path}: not a whole safetensors file ({error})") from error
    return weights


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        raise PretrainedError(
            f"pretrained weights {path}: not a file of plain tensors; it is damaged or holds pickled "
            "objects, which could run code when loaded. Save network.state_dict() of a network that you "
            f"trust, with torch.save or safetensors ({first_line(error)})"
        ) from error
