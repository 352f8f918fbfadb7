"""Names of heads, criteria, reader noise, terms and weightings that a study may write in its axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE
from oahier.specs import nearest
from oahier.study.overrides import Overrides, PlanError, arguments_of, merged

Spec = dict[str, Any]


def _spec(path: str, **arguments: Any) -> Spec:
    return {"class_path": path, "init_args": arguments}


def _loss(name: str, **arguments: Any) -> Spec:
    return _spec(f"oahier.losses.{name}", **arguments)


_BLOCKS = list(DEFAULT_HIERARCHY.parents(FINE, COARSE))
_BLOCK_READER = _loss("LearnedReader", blocks=_BLOCKS)

HEADS: dict[str, Spec] = {
    "softmax": _spec("oahier.heads.SoftmaxHead"),
    "cumulative": _spec("oahier.heads.CumulativeHead"),
    "cumulative-probit": _spec("oahier.heads.CumulativeHead", link=_spec("oahier.heads.Probit")),
    "cumulative-cloglog": _spec(
        "oahier.heads.CumulativeHead", link=_spec("oahier.heads.ComplementaryLogLog")
    ),
    "coral": _spec("oahier.heads.CoralHead"),
    "corn": _spec("oahier.heads.CornHead"),
    "continuation": _spec("oahier.heads.ContinuationRatioHead"),
    "binomial": _spec("oahier.heads.UnimodalHead"),
    "poisson": _spec("oahier.heads.UnimodalHead", distribution=_spec("oahier.heads.Poisson")),
    "beta": _spec("oahier.heads.UnimodalHead", distribution=_spec("oahier.heads.Beta")),
    "regression": _spec("oahier.heads.RegressionHead"),
    "conditional": _spec("oahier.heads.ConditionalHead"),
}
CRITERIA: dict[str, Spec] = {
    "cross-entropy": _loss("CrossEntropy"),
    "balanced": _loss("CrossEntropy", class_weights="balanced"),
    "smooth": _loss("CrossEntropy", label_smoothing=0.1),
    "focal": _loss("Focal"),
    "sord": _loss("Sord"),
    "triangular": _loss("TriangularLabels"),
    "beta-labels": _loss("BetaLabels"),
    "earth-mover": _loss("SquaredEarthMover"),
    "class-distance": _loss("ClassDistanceCrossEntropy"),
    "ordinal-log": _loss("OrdinalLogLoss"),
    "generalised": _loss("GeneralisedCrossEntropy"),
    "symmetric": _loss("SymmetricCrossEntropy"),
    "logit-adjusted": _loss("LogitAdjusted"),
    "hierarchical": _loss("HierarchicalCrossEntropy"),
}
NOISES: dict[str, list[Spec]] = {
    "none": [],
    "learned": [_loss("LearnedReader")],
    "learned-block": [_BLOCK_READER],
    "two-readers": [_BLOCK_READER, _BLOCK_READER],
}
TERMS: dict[str, Spec | None] = {
    "none": None,
    "consistency": _loss("HierarchyConsistency"),
    "rank-n-contrast": _loss("RankNContrast"),
    "ordinal-contrast": _loss("OrdinalContrast"),
    "axis-order": _loss("AxisOrder"),
}
WEIGHTINGS: dict[str, Spec] = {
    "fixed": _loss("FixedWeights"),
    "uncertainty": _loss("UncertaintyWeights"),
    "gradnorm": _loss("GradNorm"),
    "pcgrad": _loss("PCGrad"),
    "dynamic-average": _loss("DynamicWeightAverage"),
}

METHODS: dict[str, Mapping[str, Any]] = {
    "head": HEADS, "criterion": CRITERIA, "noise": NOISES, "term": TERMS, "weighting": WEIGHTINGS,
}  # fmt: skip
"""Names by axis. ``head``, ``criterion`` and ``noise`` are those of the finest level; to add one is
a line in a table."""

NOISE = "noise"
"""Section of a cell's configuration that holds readers, until they are wrapped around the criterion."""


def method_overrides(axis: str, level: str) -> Overrides:
    """Changes that a named method makes in the base configuration.

    Raises:
        ValueError: no method of that name on the axis.

    >>> method_overrides("criterion", "focal")
    {'model.heads.kl.init_args.criterion': {'class_path': 'oahier.losses.Focal', 'init_args': {}}}
    """
    known = METHODS[axis]
    if level not in known:
        raise ValueError(
            f"grid.{axis}: expected one of {', '.join(known)}, or a mapping of a name to "
            f"its overrides, got {level!r}.{nearest(level, known)}"
        )
    chosen, head = known[level], f"model.heads.{FINE}"
    if axis == "head":
        return {head: chosen}
    if axis == "criterion":
        return {f"{head}.init_args.criterion": chosen}
    if axis == "weighting":
        return {"model.loss_weights": chosen}
    if not chosen:
        return {}
    return {NOISE: chosen} if axis == "noise" else {f"model.terms.{level.replace('-', '_')}": chosen}


def with_methods(config: dict[str, Any], default: Spec, where: str) -> None:
    """Complete the head of the finest level and wrap its criterion in the readers of the cell, in place.

    Args:
        config: of a cell, all overrides applied.
        default: the head, where overrides say only what is in it.
        where: what to call the cell in an error.

    Raises:
        PlanError: readers without a head, or beside a smoothing that the criterion is to have.
    """
    heads = (config.get("model") or {}).get("heads") or {}
    if FINE in heads and "class_path" not in heads[FINE]:
        heads[FINE] = merged(default, heads[FINE])
    readers = config.pop(NOISE, None)
    if not readers:
        return
    readers = readers if isinstance(readers, list) else [readers]
    if FINE not in heads:
        raise PlanError(f"{where}: noise is that of the head {FINE!r}, which the cell does not have")
    arguments = arguments_of(heads[FINE])
    if arguments.get("label_smoothing"):
        raise PlanError(
            f"{where}: noise and label_smoothing of the head {FINE!r} do not go together; smooth by a "
            "criterion (criterion: [smooth])"
        )
    arguments = {
        **arguments,
        "criterion": _loss("ReaderNoise", readers=readers, criterion=arguments.get("criterion")),
    }
    if len(readers) > 1 and not isinstance(arguments.get("target"), list):
        columns = [FINE, *(f"{FINE}_{number}" for number in range(2, len(readers) + 1))]
        arguments["target"] = columns
        data = config.setdefault("data", {})
        data["targets"] = [*dict.fromkeys([*(data.get("targets") or [COARSE, FINE]), *columns])]
    heads[FINE] = {**heads[FINE], "init_args": arguments}


def method_names() -> str:
    """The names of every axis, for help texts."""
    return "; ".join(f"{axis}: {', '.join(known)}" for axis, known in METHODS.items())
