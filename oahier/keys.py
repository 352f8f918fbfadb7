"""Names of logged values, ``stage/head/metric``, and of the columns of predictions."""

from __future__ import annotations

RESERVED_GROUPS = ("axis", "axis_online", "hierarchy", "loss", "saliency")
"""Groups of metric keys that no head or term may be named after, beside ``hierarchy_{head}_{head}``."""


def metric_key(stage: str, *parts: str) -> str:
    """Join a stage, an optional head or group, and a metric into one logger key.

    >>> metric_key("val", "kl", "qwk")
    'val/kl/qwk'
    >>> metric_key("train", "loss")
    'train/loss'
    """
    return "/".join((stage, *parts))


def prediction_columns(head: str, num_classes: int) -> list[str]:
    """Columns of a head in ``predictions.csv``.

    >>> prediction_columns("oa", 2)
    ['label_oa', 'prob_oa', 'pred_oa']
    >>> prediction_columns("kl", 3)
    ['label_kl', 'prob_kl_0', 'prob_kl_1', 'prob_kl_2', 'pred_kl', 'severity_kl']
    """
    if num_classes == 2:
        return [f"label_{head}", f"prob_{head}", f"pred_{head}"]
    grades = [f"prob_{head}_{grade}" for grade in range(num_classes)]
    return [f"label_{head}", *grades, f"pred_{head}", f"severity_{head}"]
