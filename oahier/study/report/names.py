"""Names and colours of what a report shows: the same ones in every table and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oahier.hierarchy import head_label
from oahier.metrics import find_metrics

LEVELS: Mapping[str, str] = {
    "single-oa": "Single-OA",
    "single-kl": "Single-KL",
    "dual": "Dual",
    "dual-published": "Dual (published)",
    "conditional": "Conditional",
    "hace": "HACE",
    "placebo-shuffled": "Placebo: shuffled OA",
    "placebo-twin": "Placebo: a twin's OA",
    "control-permuted": "Control: permuted labels",
    "control-no-joint": "Control: no joint",
    "control-covariates": "Control: no network",
    "resnet3d": "ResNet3D",
    "m3t": "M3T",
    "nnmamba": "nnMamba",
}
OTHER_METRICS: Mapping[str, str] = {
    "explained_variance": "variance explained",
    "explained_variance_held_out": "same, held out",
    "spearman_kl": "|ρ| with KL",
    "spearman_oa": "|ρ| with OA",
    "probe_auc": "OA probe AUC",
    "trend_z": "trend z",
    "trend_p": "trend p",
    "monotonicity": "monotonicity",
    "separation": "separation d′",
    "straightness": "straightness",
    "straightness_unbiased": "straightness, unbiased",
    "straightness_chance": "straightness by chance",
    "oa_kl_cosine_unbiased": "cosine OA, KL, unbiased",
    "split_half": "split-half",
    "discernible": "grades told apart",
    "oa_kl_cosine": "cosine OA, KL",
    "response_mean": "standardised response mean",
    "progression_auc": "AUC, progression",
    "auroc": "AUROC of voxels",
    "auprc": "AUPRC of voxels",
    "peak_mm": "peak to cartilage, mm",
    "iou": "IoU",
    "dice": "Dice",
    "mass_in_cartilage": "mass in cartilage",
    "enrichment": "enrichment",
    "pointing": "pointing game",
}
SCORES: Mapping[str, str] = {"axis": "severity axis (PC1)", "severity": "expected grade"}
"""What is followed over visits."""
TESTS: Mapping[str, str] = {
    "obuchowski_rockette": "Obuchowski-Rockette",
    "jackknife": "jackknife",
    "sign_flip": "exact sign-flip",
    "paired_bootstrap": "paired bootstrap",
    "mcnemar_exact": "exact McNemar",
    "mcnemar_chi2": "McNemar χ²",
    "random_effects": "random effects",
    "delong": "DeLong",
    "clustered_delong": "clustered DeLong",
}
CORRECTIONS: Mapping[str, str] = {"bh": "Benjamini-Hochberg", "holm": "Holm", "none": "none"}
KINDS: Mapping[str, str] = {
    "pca": "first principal component",
    "lda": "linear discriminant of the grades",
    "regression": "ridge regression of the grade",
    "centroid": "from KL 0 to KL 4 centroid",
}
PALETTE = ("#e69f00", "#2b8cbe", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d31", "#7f7f7f")
"""After Okabe and Ito: told apart with any colour vision, and on light and dark ground."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
_USUAL_PLACES = {"single-oa": 0, "single-kl": 1, "dual": 2, "dual-published": 3}


@dataclass(frozen=True)
class Style:
    """How a level of the contrasted factor is drawn."""

    colour: str
    marker: str


NEUTRAL = Style("#7f7f7f", "o")
"""Of what favours no level."""


def level_name(level: str) -> str:
    """A level as it is read: known ones in the spelling of their papers, others as they are.

    >>> level_name("single-kl"), level_name("my-encoder")
    ('Single-KL', 'my-encoder')
    """
    return LEVELS.get(level, level)


def metric_name(metric: str) -> str:
    """A metric as it is read.

    >>> metric_name("macro_auc"), metric_name("precision_top_5")
    ('macro AUC', 'precision, top 5 %')
    """
    for known in find_metrics(metric):
        return known.title
    if metric in OTHER_METRICS:
        return OTHER_METRICS[metric]
    for start, words in (("precision_top_", "precision"), ("iou_top_", "IoU")):
        if metric.startswith(start):
            return f"{words}, top {metric.removeprefix(start)} %"
    return metric.replace("_", " ")


def method_name(method: str) -> str:
    """A saliency method and the head that it explains.

    >>> method_name("gradcam-kl"), method_name("smoothgrad-oa")
    ('Grad-CAM of the KL head', 'SmoothGrad × input of the OA head')
    """
    known = {
        "gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++", "xgradcam": "XGrad-CAM", "hirescam": "HiResCAM",
        "layercam": "LayerCAM", "gradcam_elementwise": "element-wise Grad-CAM",
        "smoothgrad": "SmoothGrad × input", "integrated_gradients": "integrated gradients",
    }  # fmt: skip
    name, _, head = method.rpartition("-")
    if not name:
        return known.get(method, method)
    return f"{known.get(name, name)} of the {head_label(head)} head"


def arrow(metric: str) -> str:
    """The name of a metric with an arrow where smaller values are better."""
    return f"{metric_name(metric)} ↓" if smaller_is_better(metric) else metric_name(metric)


def smaller_is_better(metric: str) -> bool:
    """True for errors and p values.

    >>> smaller_is_better("mae"), smaller_is_better("qwk")
    (True, False)
    """
    return metric == "trend_p" or any(known.better == "smaller" for known in find_metrics(metric))


def is_in_grades(metric: str) -> bool:
    """True for errors of several grades, whose values are no shares.

    >>> is_in_grades("mae"), is_in_grades("brier")
    (True, False)
    """
    return any(known.in_grades and known.kind == "ordinal" for known in find_metrics(metric))


def styles(levels: Sequence[str]) -> dict[str, Style]:
    """A colour and a symbol for each level; the usual supervisions keep theirs in every study."""
    taken = {_USUAL_PLACES[level] for level in levels if level in _USUAL_PLACES}
    free = iter([place for place in range(len(PALETTE)) if place not in taken] * (len(levels) + 1))
    places = [_USUAL_PLACES[level] if level in _USUAL_PLACES else next(free) for level in levels]
    return {level: Style(PALETTE[place], MARKERS[place]) for level, place in zip(levels, places, strict=True)}
