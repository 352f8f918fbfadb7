"""Levels and recipes that a study can name instead of spelling them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE
from oahier.study import definitive
from oahier.study.methods import METHODS, method_overrides
from oahier.study.overrides import Overrides

_OA = {"class_path": "oahier.BinaryHead"}
DEFAULT_HEAD = {
    "class_path": "oahier.SoftmaxHead",
    "init_args": {"num_classes": DEFAULT_HIERARCHY.num_classes(FINE)},
}
"""The head of the finest level, where nothing else is said."""
_OA_FROM_KL = {
    "class_path": "oahier.SoftmaxHead",
    "init_args": {"num_classes": DEFAULT_HIERARCHY.num_classes(COARSE), "reads": FINE},
}


@dataclass(frozen=True)
class Supervision:
    """Which heads a model has, and which of them update the encoder.

    Args:
        heads: serial form of each head, used where neither the base nor another axis says how it is made.
        probes: heads that read the detached embedding.
        topology: heads whose serial form is part of the supervision, so that the base's is replaced.
    """

    heads: Mapping[str, Any]
    probes: Sequence[str] = ()
    topology: Sequence[str] = ()

    @property
    def supervising(self) -> list[str]:
        """Heads that back-propagate into the encoder."""
        return [name for name in self.heads if name not in self.probes]


SUPERVISIONS: dict[str, Supervision] = {
    "single-oa": Supervision({COARSE: _OA, FINE: DEFAULT_HEAD}, probes=[FINE]),
    "single-kl": Supervision({COARSE: _OA, FINE: DEFAULT_HEAD}, probes=[COARSE]),
    "dual": Supervision({COARSE: _OA, FINE: DEFAULT_HEAD}),
    "dual-published": Supervision({COARSE: _OA_FROM_KL, FINE: DEFAULT_HEAD}, topology=[COARSE]),
}
"""Named supervisions of the encoder. The other head is a probe: it reads the detached embedding, so every
cell reports the same metrics. ``dual-published`` has the topology of the published code, an OA head that
reads the five KL logits."""

PAPER_SUPERVISIONS: dict[str, Supervision] = {
    "single-oa": Supervision({COARSE: _OA}),
    "single-kl": Supervision({FINE: DEFAULT_HEAD}),
    "dual": SUPERVISIONS["dual-published"],
}
"""As published: no probes, and the OA head of Dual reads the KL logits."""

PAPER_RECIPE: dict[str, Any] = {
    "trainer": {"max_epochs": 100, "limit_val_batches": 0, "num_sanity_val_steps": 0},
    "model": {
        "loss_weights": None,
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-4, "weight_decay": 1e-4}},
        "lr_scheduler": None,
    },
    "data": {"batch_size": 2, "augmentation": None},
}
"""The training of arXiv:2605.00718: a hundred epochs, no schedule, no augmentation, no validation."""

PRESETS = {"paper": PAPER_RECIPE, definitive.NAME: definitive.RECIPE}


def level_overrides(axis: str, level: str, value: Any, preset: str | None, levels: int = 0) -> Overrides:
    """Changes that a level of a grid makes in the base configuration.

    Args:
        axis: name of the axis; ``backbone``, ``supervision``, ``seed``, ``fold``, ``dose`` and those of
            :data:`~oahier.study.methods.METHODS` have levels of their own, any other one is the dotted name
            of a value.
        level: name of the level.
        value: what was written for it.
        preset: recipe of the study.
        levels: of the axis; of as many folds each is one.

    Raises:
        ValueError: a supervision or method that is not known.

    >>> level_overrides("seed", "3", 3, None)
    {'seed_everything': 3}
    >>> level_overrides("backbone", "m3t", "m3t", None)
    {'model.encoder': 'm3t'}
    >>> level_overrides("supervision", "single-oa", "single-oa", None)
    {'model.probes': ['kl']}
    """
    own = definitive.ARMS if axis == "supervision" and preset == definitive.NAME else {}
    if level in own:
        return own[level]
    if axis == "supervision":
        known = known_supervisions(preset)
        if level not in known:
            raise ValueError(
                f"grid.supervision: expected one of {sorted([*known, *own])} or a mapping of a name to its "
                f"overrides (model.heads: ..., model.probes: [...]), got {level!r}"
            )
        chosen = known[level]
        fixed = {f"model.heads.{name}": chosen.heads[name] for name in chosen.topology}
        return {**fixed, "model.probes": list(chosen.probes)}
    if axis == "fold":
        return {"data.split": _fold(level, value, levels)}
    if axis == "dose":
        if level not in definitive.DOSES:
            raise ValueError(f"grid.dose: expected some of {', '.join(definitive.DOSES)}, got {level!r}")
        return definitive.DOSES[level]
    if axis == "seed" and preset == definitive.NAME:  # a partition of its own for each seed
        return {"seed_everything": value, "data.seed": value}
    if axis in METHODS:
        return method_overrides(axis, level)
    if axis == "backbone":
        return {"model.encoder": value}
    return {"seed_everything" if axis == "seed" else axis: value}


def _fold(level: str, value: Any, levels: int) -> dict[str, Any]:
    """One fold of as many as the axis has levels; the splits of the manifest are replaced."""
    if not isinstance(value, int) or not 0 <= value < levels:
        raise ValueError(f"grid.fold: expected the whole numbers from 0 to {levels - 1}, got {level!r}")
    return {"class_path": "oahier.data.Folds", "init_args": {"test": value, "count": levels, "anew": True}}


def known_supervisions(preset: str | None) -> Mapping[str, Supervision]:
    """Levels of the axis ``supervision`` that need no overrides of their own."""
    return PAPER_SUPERVISIONS if preset == "paper" else SUPERVISIONS


def with_heads(
    heads: Mapping[str, Any], supervision: Supervision, known: Mapping[str, Supervision]
) -> dict[str, Any]:
    """The heads of a supervision, each as it was configured or else by default.

    Raises:
        ValueError: a head was configured that none of the known supervisions has.

    >>> with_heads({"oa": "mine", "kl": "mine"}, PAPER_SUPERVISIONS["single-kl"], PAPER_SUPERVISIONS)
    {'kl': 'mine'}
    """
    other = sorted(set(heads) - {name for one in known.values() for name in one.heads})
    if other:
        raise ValueError(
            f"model.heads has {other[0]!r}, about which the named supervisions say nothing; write levels of "
            f"your own, such as {{supervision: {{mine: {{model.probes: [{other[0]}]}}}}}}"
        )
    return {name: heads.get(name, default) for name, default in supervision.heads.items()}
