"""Ownership of components: one object belongs to one model.

Two models that share an encoder would train each other. Owners are kept beside the components, not on them,
so that copies and pickles of a component belong to nobody until a model takes them.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping

from torch import nn

from oahier.specs import Specified

_OWNERS: weakref.WeakKeyDictionary[nn.Module, weakref.ref[nn.Module]] = weakref.WeakKeyDictionary()


def refuse_shared(components: Mapping[str, nn.Module]) -> None:
    """Refuse a component that another model or another component holds.

    Args:
        components: by their name in messages, such as ``heads['kl']``.

    Raises:
        ValueError: the component, or a module with parameters inside it, already belongs elsewhere.
    """
    holders: dict[nn.Module, str] = {}
    for name, component in components.items():
        for module in _with_state(component):
            owner = holders.setdefault(module, name)
            if owner == name and _is_owned(module):
                owner = "another model"
            if owner != name:
                kind = {"loss_weights": "weighting"}.get(name, name.partition("[")[0].removesuffix("s"))
                what = "" if module is component else f"the {type(module).__name__} of "
                raise ValueError(
                    f"{name}: {what}this {kind} already belongs to {owner}; make a new one or a copy.deepcopy"
                )


def claim(model: nn.Module, components: Mapping[str, nn.Module]) -> None:
    """Make a model the owner of its components, as long as it lives."""
    for component in components.values():
        for module in _with_state(component):
            _OWNERS[module] = weakref.ref(model)


def _with_state(component: nn.Module) -> list[nn.Module]:
    """Modules that must not be shared: components, and all with parameters or buffers of their own."""
    return [
        module
        for module in component.modules()
        if module is component
        or isinstance(module, Specified)
        or any(True for _ in module.parameters(recurse=False))
        or any(True for _ in module.buffers(recurse=False))
    ]


def _is_owned(module: nn.Module) -> bool:
    """True where a living model holds the module; a model that was deleted is collected first."""
    if not _held(module):
        return False
    gc.collect()  # models sit in reference cycles with their trainer
    return _held(module)


def _held(module: nn.Module) -> bool:
    reference = _OWNERS.get(module)
    owner = None if reference is None else reference()
    return owner is not None and any(item is module for item in owner.modules())
