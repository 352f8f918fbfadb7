"""Conversion of constructor arguments (instances, names, serial forms) to the components of a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from oahier.heads import Head
from oahier.losses import FixedWeights, LossWeighting, Term
from oahier.model.names import check_name
from oahier.specs import build, build_factory, build_nested, is_spec
from oahier.statistics.columns import probability_columns, require_own_columns

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]
T = TypeVar("T")


def as_heads(heads: Any) -> dict[str, Head]:
    """Heads by name, each an instance or its serial form.

    Raises:
        TypeError: no mapping, or something in it that is no head.
        ValueError: no heads, a name that cannot stand in metric keys or columns, or a head that was built for
            another model.
    """
    if not isinstance(heads, Mapping):
        raise TypeError(
            f"heads: expected heads by name, for example {{'kl': oahier.SoftmaxHead()}}, "
            f"got {type(heads).__name__}"
        )
    if not heads:
        raise ValueError("heads is empty: give at least one, for example {'kl': oahier.SoftmaxHead()}")
    made = {name: as_head(name, head) for name, head in heads.items()}
    for name, head in made.items():
        check_name("heads", name)
        if head.in_features is not None:
            raise ValueError(f"heads[{name!r}]: this head already belongs to another model; make a new one")
    require_own_columns({name: probability_columns(name, head.num_classes) for name, head in made.items()})
    return made


def reading_order(heads: Mapping[str, Head]) -> list[str]:
    """Names ordered such that a head comes after the one whose logits it reads.

    Raises:
        ValueError: a head reads one that does not exist, or heads read each other in a circle.
    """
    order: list[str] = []
    waiting = dict(heads)
    while waiting:
        ready = [name for name, head in waiting.items() if head.reads is None or head.reads in order]
        if not ready:
            name, head = next(iter(waiting.items()))
            raise ValueError(
                f"heads[{name!r}] reads {head.reads!r}: expected another head among {sorted(heads)}, "
                "without a circle"
            )
        order += ready
        waiting = {name: head for name, head in waiting.items() if name not in ready}
    return order


def as_head(name: str, head: Any) -> Head:
    """One head from an instance or its serial form.

    Raises:
        TypeError: it is neither.
    """
    if is_spec(head):
        return build(head, Head)
    if not isinstance(head, Head):
        raise TypeError(
            f"heads[{name!r}]: expected a subclass of oahier.Head or {{'class_path': ...}}, "
            f"got {type(head).__name__}"
        )
    return head


def as_probes(probes: Sequence[str] | None, heads: Mapping[str, Head]) -> frozenset[str]:
    """Names of the probe heads: those that are named, and those that were made with ``probe=True``.

    Raises:
        TypeError: no list of names.
        ValueError: a name that is none of the heads.
    """
    if isinstance(probes, str):
        raise TypeError(f"probes: expected a list of head names, for example [{probes!r}], got {probes!r}")
    unknown = sorted(set(probes or ()) - set(heads))
    if unknown:
        raise ValueError(f"probes: expected names among the heads {sorted(heads)}, got {unknown}")
    return frozenset(probes or ()) | {name for name, head in heads.items() if head.probe}


def as_terms(terms: Any, heads: Collection[str]) -> dict[str, Term]:
    """Terms of the objective by name, each an instance or its serial form.

    Raises:
        TypeError: no mapping, or something in it that is no term.
        ValueError: a name that a head has, or that cannot stand in metric keys.
    """
    if terms is not None and not isinstance(terms, Mapping):
        raise TypeError(f"terms: expected terms by name, got {type(terms).__name__}")
    made = {}
    for name, term in (terms or {}).items():
        check_name("terms", name)
        if name in heads:
            raise ValueError(f"terms[{name!r}]: a head has that name already; rename one of them")
        made[name] = build(term, Term) if is_spec(term) else term
        if not isinstance(made[name], Term):
            raise TypeError(
                f"terms[{name!r}]: expected a subclass of oahier.Term or {{'class_path': ...}}, "
                f"got {type(term).__name__}"
            )
    return made


def as_weighting(weights: Any) -> LossWeighting:
    """A weighting from weights by head name, an instance, its serial form, or nothing (all 1).

    Raises:
        TypeError: something else was given.
    """
    if is_spec(weights):
        return build(weights, LossWeighting)
    if weights is None or isinstance(weights, Mapping):
        return FixedWeights(weights)
    if isinstance(weights, LossWeighting):
        return weights
    raise TypeError(
        f"loss_weights: expected weights by head name or a LossWeighting, got {type(weights).__name__}"
    )


def as_factory(name: str, factory: Any, expected: type[T]) -> Callable[[Any], T]:
    """A function that makes an optimizer or scheduler, from a class, a function or the serial form.

    Raises:
        TypeError: something else was given, such as an optimizer that is already made.
    """
    if is_spec(factory):
        return build_factory(factory, expected)
    if not callable(factory):
        raise TypeError(
            f"{name}: expected a class or function that makes a torch {expected.__name__}, for example "
            f"functools.partial(torch.optim.AdamW, lr=1e-4), got {type(factory).__name__}"
        )
    made: Callable[[Any], T] = factory
    return made


def learning_rate(factory: Callable[..., Any]) -> float | None:
    """The learning rate that a factory gives its optimizer, as far as its signature says.

    >>> import functools, torch
    >>> learning_rate(functools.partial(torch.optim.SGD, lr=0.1)), learning_rate(torch.optim.AdamW)
    (0.1, 0.001)
    """
    try:
        parameter = inspect.signature(factory).parameters.get("lr")
    except (TypeError, ValueError):
        return None
    default = None if parameter is None else parameter.default
    return float(default) if isinstance(default, (int, float)) else None


def spare_from_decay(optimizer: Optimizer) -> None:
    """Put parameters that are marked ``_no_weight_decay`` into groups of their own, without weight decay.

    Optimizers without weight decay, and models without such parameters, stay as they are.
    """
    for group in list(optimizer.param_groups):
        if not group.get("weight_decay"):
            continue
        spared = [item for item in group["params"] if getattr(item, "_no_weight_decay", False)]
        if spared:
            options = {name: value for name, value in group.items() if name != "params"}
            if "name" in options:
                options["name"] += ".without_decay"
            group["params"] = [item for item in group["params"] if not any(item is other for other in spared)]
            optimizer.add_param_group({**options, "params": spared, "weight_decay": 0.0})


_KNOWN = ("encoder", "heads", "terms", "loss_weights", "optimizer", "lr_scheduler", "probes")
"""Arguments of the model itself; those of a subclass may hold any module."""


def build_parts(specification: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of a model from their serial form; parts that are already made stay as they are.

    Raises:
        SpecError: a class is not found, is of another kind, or refuses its arguments.
    """
    parts = {name: part for name, part in specification.items() if part is not None}
    if isinstance(parts.get("heads"), Mapping):
        parts["heads"] = {name: as_head(name, head) for name, head in parts["heads"].items()}
    if isinstance(parts.get("terms"), Mapping):
        parts["terms"] = as_terms(parts["terms"], ())
    if is_spec(parts.get("loss_weights")):
        parts["loss_weights"] = build(parts["loss_weights"], LossWeighting)
    if is_spec(parts.get("optimizer")):
        parts["optimizer"] = build_factory(parts["optimizer"], Optimizer)
    if is_spec(parts.get("lr_scheduler")):
        parts["lr_scheduler"] = build_factory(parts["lr_scheduler"], LRScheduler)
    return {name: part if name in _KNOWN else build_nested(part) for name, part in parts.items()}
