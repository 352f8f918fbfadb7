"""Conversion of names, serial forms and plain modules to encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from oahier.encoders.base import Encoder
from oahier.encoders.m3t import M3T
from oahier.encoders.monai import MonaiEncoder
from oahier.encoders.nnmamba import NnMamba
from oahier.encoders.plain import PlainEncoder
from oahier.encoders.resenc import ResEnc
from oahier.encoders.resnet3d import ResNet3D
from oahier.encoders.timm3d import Timm3dEncoder
from oahier.specs import build, nearest

_NAMED: dict[str, type[Encoder]] = {
    "resnet3d": ResNet3D, "m3t": M3T, "nnmamba": NnMamba, "resenc": ResEnc
}  # fmt: skip
_LIBRARIES = {"timm3d": Timm3dEncoder, "monai": MonaiEncoder}


def create_encoder(name: str) -> Encoder:
    """An encoder by name, with default arguments: a network of ours, of timm-3d or of MONAI.

    Args:
        name: ``"resnet3d"``, ``"m3t"``, ``"nnmamba"``, ``"resenc"``, ``"timm3d/<network>"`` or
            ``"monai/<network>"``.

    Raises:
        ValueError: unknown name; the message gives the nearest ones.
        ImportError: the library behind the name is not installed.
    """
    library, slash, network = name.partition("/")
    if slash and library in _LIBRARIES:
        return _LIBRARIES[library](network)
    if name in _NAMED:
        return _NAMED[name]()
    known = [*_NAMED, *(f"{item}/<network>" for item in _LIBRARIES)]
    raise ValueError(f"encoder {name!r}: expected one of {', '.join(known)}.{_guess(name)}")


def as_encoder(encoder: nn.Module | str | Mapping[str, Any]) -> Encoder:
    """An encoder from a name, a ``{class_path, init_args}``, an :class:`Encoder`, or any module.

    Raises:
        ValueError: the name is unknown or the module's output is not understood.
        TypeError: something else was given.
    """
    if isinstance(encoder, str):
        return create_encoder(encoder)
    if isinstance(encoder, Mapping):
        encoder = build(encoder, nn.Module)
    if isinstance(encoder, Encoder):
        return encoder
    if isinstance(encoder, nn.Module):
        return PlainEncoder(encoder)
    raise TypeError(
        f"encoder: expected a name, an nn.Module or {{'class_path': ...}}, got {type(encoder).__name__}"
    )


def _guess(name: str) -> str:
    """The nearest name, also for ``"resnet18"`` where ``"timm3d/resnet18"`` was meant."""
    from oahier.encoders.monai import _CONSTRUCTORS
    from oahier.encoders.timm3d import _import_timm_3d

    bare = name.rpartition("/")[2]
    candidates = {f"timm3d/{item}": item for item in _import_timm_3d().list_models()}
    candidates |= {f"monai/{item}": item for item in _CONSTRUCTORS}
    exact = [full for full, item in candidates.items() if item == bare]
    if exact:
        return f" Did you mean {' or '.join(map(repr, exact))}?"
    return nearest(name, [*_NAMED, *candidates])
