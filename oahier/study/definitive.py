"""The experiment that is to settle whether OA labels help beside grades: arms, doses, contrasts, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE
from oahier.study.overrides import Overrides

NAME = "definitive"

_MARGINAL = {"class_path": "oahier.heads.MarginalHead"}
_CLASSES = DEFAULT_HIERARCHY.num_classes(FINE)


def _change(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"oahier.data.relabelling.{name}", "init_args": arguments}


RECIPE: dict[str, Any] = {
    "model": {
        "heads": {
            COARSE: {"class_path": "oahier.BinaryHead"},
            FINE: {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": _CLASSES}},
        }
    }
}
"""Heads of the arms that say nothing of theirs."""

ARMS: Mapping[str, Overrides] = {
    "conditional": {
        f"model.heads.{FINE}": {"class_path": "oahier.heads.ConditionalHead"},
        f"model.heads.{COARSE}": _MARGINAL,
        "model.probes": [COARSE],
    },
    "hace": {
        f"model.heads.{FINE}.init_args.criterion": {"class_path": "oahier.losses.HierarchicalCrossEntropy"},
        f"model.heads.{COARSE}": _MARGINAL,
        "model.probes": [COARSE],
    },
    "placebo-shuffled": {
        "model.probes": [],
        "data.relabel.placebo": _change("ShuffledLabels", columns=[COARSE]),
    },
    "placebo-twin": {"model.probes": [], "data.relabel.placebo": _change("TwinLabels")},
    "control-permuted": {
        "model.probes": [],
        "data.relabel.permuted": _change("ShuffledLabels", columns=[COARSE, FINE]),
    },
    "control-no-joint": {
        "model.probes": [],
        "data.preprocessing": {"class_path": "oahier.data.joint_removal.WithoutJoint"},
    },
}
"""Arms beside the named supervisions: both levels in one head, a loss at both levels; KL with OA labels that
say nothing of the knee, or no more than its grade; labels of other knees; volumes without the joint."""

WITHOUT_NETWORK = "control-covariates"
"""Arm of a logistic model of the manifest's columns, made from the finished folds."""

CLEAN = "clean"
DOSES: Mapping[str, Overrides] = {
    CLEAN: {},
    **{
        f"{where}-{percent}": {
            "data.relabel.noise": _change("NoisyGrades", share=percent / 100, across=where == "across")
        }
        for where in ("block", "across")
        for percent in (15, 30)
    },
}
"""Share of the training and validation grades that another reader gave."""

CONTROLS = ("control-permuted", "control-no-joint")
GRID: Mapping[str, list[Any]] = {
    "dose": list(DOSES),
    "supervision": [
        "single-oa", "single-kl", "dual-published", "dual", "conditional", "hace", "placebo-shuffled",
        "placebo-twin", *CONTROLS,
    ],
    "seed": [0, 1, 2],
    "fold": [0, 1, 2, 3, 4],
}  # fmt: skip
"""Axes that a plan has unless it writes its own levels; backbones are the plan's."""

WITHOUT: list[dict[str, str]] = [
    *({"supervision": arm, "dose": dose} for arm in CONTROLS for dose in DOSES if dose != CLEAN),
    *({"supervision": "placebo-twin", "dose": dose} for dose in DOSES if not dose.startswith("across")),
]
"""Controls have one dose. Where OA follows from the grade, a twin's OA is the knee's own: the arm is Dual."""

PRIMARY = (
    ("single-kl", "dual-published"), ("single-kl", "dual"), ("placebo-shuffled", "dual"),
)  # fmt: skip
"""Pairs of arms (a, b) of the primary endpoints, at the first dose."""

CONTRASTS = (
    *PRIMARY, ("placebo-twin", "dual"), ("single-kl", "conditional"), ("single-kl", "hace"),
    ("single-oa", "dual"), *((control, "dual") for control in (*CONTROLS, WITHOUT_NETWORK)),
)  # fmt: skip
"""All pairs that are compared."""

SELECTION: dict[str, Any] = {"saliency": [], "knees": 0}
