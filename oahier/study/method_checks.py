"""Checks that the components of a cell fit one another, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oahier.heads import Head
from oahier.losses import LossWeighting, Term
from oahier.specs import build, is_spec
from oahier.study.configuration import probes
from oahier.study.overrides import PlanError


def check_methods(config: Mapping[str, Any], where: str, supervision: str | None) -> None:
    """Make heads, terms and weighting of a resolved configuration, and see that they go together.

    Args:
        config: resolved.
        where: what to call it in an error.
        supervision: the named supervision of the cell; its probes must not reach the encoder by a term.

    Raises:
        PlanError: no heads, a criterion that does not fit its head, weights of other names, or a term that
            lets a level supervise the encoder which the supervision leaves to a probe.
    """
    model = config["model"]
    if not model.get("heads"):
        raise PlanError(
            f"{where}: model.heads: expected heads by name, got none; name them in the base or in an axis"
        )
    heads = {name: _made(spec, Head, f"{where}: model.heads.{name}") for name, spec in model["heads"].items()}
    terms = {
        name: _made(spec, Term, f"{where}: model.terms.{name}")
        for name, spec in (model.get("terms") or {}).items()
    }
    detached = set(probes(config))
    weights = model.get("loss_weights")
    names = [name for name in heads if name not in detached] + list(terms)
    if is_spec(weights):
        weighting = _made(weights, LossWeighting, f"{where}: model.loss_weights")
        try:
            weighting.build(names)
        except ValueError as error:
            raise PlanError(f"{where}: {error}") from error
    elif weights is not None and set(weights) != set(names):
        raise PlanError(
            f"{where}: model.loss_weights names {sorted(weights)}, but {sorted(names)} supervise the "
            "encoder; name exactly these, or leave the weights out"
        )
    if supervision is None:
        return
    left = _columns(heads, detached) - _columns(heads, set(heads) - detached)
    for name, term in terms.items():
        if reached := sorted(left & set(term.supervises)):
            raise PlanError(
                f"{where}: term {name!r} lets {reached[0]!r} supervise the encoder, which {supervision!r} "
                "leaves to a probe; leave the combination out (without: ...), or give the term another target"
            )


def _columns(heads: Mapping[str, Head], names: set[str]) -> set[str]:
    """Heads and the target columns that they learn from."""
    targets = [heads[name].target or name for name in names]
    return names.union(*([target] if isinstance(target, str) else target for target in targets))


def _made(spec: Any, kind: type[Any], where: str) -> Any:
    try:
        return build(spec, kind)
    except (TypeError, ValueError) as error:
        raise PlanError(f"{where}: {error}") from error
