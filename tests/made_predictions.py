"""Made prediction tables, and scikit-learn's view of them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from sklearn import metrics

KL_COLUMNS = [f"prob_kl_{grade}" for grade in range(5)]


def columns(knees: int = 40, seed: int = 0, *, per_subject: int = 1, noise: float = 1.2) -> dict[str, Any]:
    """A table of one model; labels and subjects depend on ``knees`` only, probabilities on ``seed``."""
    labels = np.random.default_rng(1000 + knees).permutation(np.arange(knees) % 5)
    generator = np.random.default_rng(seed)
    logits = -np.abs(np.arange(5) - labels[:, None]) + generator.normal(0, noise, (knees, 5))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    oa = 1 / (1 + np.exp(-(labels - 1.5 + generator.normal(0, 2, knees))))
    table: dict[str, Any] = {
        "knee": [f"k{row:03d}" for row in range(knees)],
        "subject": [f"s{row // per_subject:03d}" for row in range(knees)],
        "label_kl": labels.tolist(),
        "label_oa": (labels >= 2).astype(int).tolist(),
        "prob_oa": oa.tolist(),
    }
    return table | {name: p[:, grade].tolist() for grade, name in enumerate(KL_COLUMNS)}


def reference(task: str, metric: str, table: dict[str, Any], rows: np.ndarray) -> float:
    """scikit-learn's value on copied rows; NaN where this package says undefined."""
    if task == "OA":
        return _oa(metric, np.array(table["label_oa"])[rows], np.array(table["prob_oa"])[rows])
    p = np.stack([table[name] for name in KL_COLUMNS], axis=1)[rows]
    return _kl(metric, np.array(table["label_kl"])[rows], p)


def _oa(metric: str, y: np.ndarray, p: np.ndarray) -> float:
    one_class = len(set(y.tolist())) < 2
    if metric in ("auc", "average_precision"):
        score = metrics.roc_auc_score if metric == "auc" else metrics.average_precision_score
        return math.nan if one_class else float(score(y, p))
    if metric == "brier":
        return float(np.mean((p - y) ** 2))
    decided = (p >= 0.5).astype(int)
    if metric == "accuracy":
        return float(metrics.accuracy_score(y, decided))
    if metric == "f1":
        return float(metrics.f1_score(y, decided, zero_division=np.nan))
    return float(
        metrics.recall_score(y, decided, pos_label=int(metric == "sensitivity"), zero_division=np.nan)
    )


def _kl(metric: str, y: np.ndarray, p: np.ndarray) -> float:
    from scipy.stats import spearmanr

    decided, severity = p.argmax(axis=1), p @ np.arange(5)
    distance = np.abs(decided - y)
    if metric in ("macro_auc", "macro_mae") and len(set(y.tolist())) < 5:
        return math.nan
    values = {
        "macro_auc": lambda: metrics.roc_auc_score(y, p, multi_class="ovr"),
        "accuracy": lambda: metrics.accuracy_score(y, decided),
        "macro_f1": lambda: metrics.f1_score(y, decided, average="macro", zero_division=np.nan),
        "qwk": lambda: metrics.cohen_kappa_score(y, decided, weights="quadratic", labels=range(5)),
        "mae": lambda: metrics.mean_absolute_error(y, decided),
        "macro_mae": lambda: np.mean([distance[y == grade].mean() for grade in range(5)]),
        "accuracy_within_one": lambda: np.mean(distance <= 1),
        "spearman": lambda: spearmanr(severity, y).statistic,
        "rps": lambda: np.mean(((p.cumsum(1) - (y[:, None] <= np.arange(5))) ** 2).sum(1)),
        "linear_kappa": lambda: metrics.cohen_kappa_score(y, decided, weights="linear", labels=range(5)),
        "severe_auc": lambda: metrics.roc_auc_score(y >= 3, severity) if len(set(y >= 3)) == 2 else math.nan,
        "ece": lambda: _calibration_error(p.max(axis=1), decided == y),
    }
    return float(values[metric]())


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    edges = np.arange(11) / 10
    total = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence >= low) & (confidence < high)
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    return total / len(right)
