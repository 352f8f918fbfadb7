"""Values that the three implementations before this one gave, on the same made rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oahier.metrics import binary_metrics, hierarchy_metrics, ordinal_metrics

RECORDED = json.loads((Path(__file__).parent / "recorded_values.json").read_text())


def _example(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities and labels of grades, and of two classes."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(60) % classes)
    logits = generator.normal(size=(60, classes)) + 1.2 * np.eye(classes)[labels]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels[:3] = -1
    return p, labels, p[:, 2:].sum(axis=1), np.where(labels < 0, -1, labels >= 2)


@pytest.mark.parametrize("name", RECORDED)
def test_values_are_those_recorded(name: str) -> None:
    *what, seed, classes = name.split(" ")
    p, labels, positive, binary = _example(int(seed), int(classes))
    if what == ["hierarchy"]:
        found = hierarchy_metrics(np.sqrt(positive), p)
    else:
        found = ordinal_metrics(p, labels) if what == ["ordinal"] else binary_metrics(positive, binary)
    assert set(found) == set(RECORDED[name])
    for metric, value in RECORDED[name].items():
        assert found[metric] == pytest.approx(value, rel=1e-9), metric
