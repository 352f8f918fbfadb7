"""Names of logged values, made in one place: ``stage/head/metric``."""

from __future__ import annotations

RESERVED_GROUPS = ("acquisition", "axis", "axis_online", "hierarchy", "loss", "saliency")
"""Groups of metric keys that no head or term may be named after, beside ``hierarchy_{head}_{head}``."""


def metric_key(stage: str, *parts: str) -> str:
    """Join a stage, an optional head or group, and a metric into one logger key.

    >>> metric_key("val", "kl", "qwk")
    'val/kl/qwk'
    >>> metric_key("train", "loss")
    'train/loss'
    """
    return "/".join((stage, *parts))
