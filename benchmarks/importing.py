"""Importing oahier over importing torch and Lightning, in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.harness import Comparison, in_turn

_BASE = "import torch, lightning"
_MODEL = "oahier.HierarchicalClassifier; oahier.ResNet3D; oahier.BinaryHead; oahier.SoftmaxHead"
_REST = "oahier.KneeMRIDataModule; oahier.OrdinalMetrics; oahier.SeverityAxis; oahier.CartilageSaliency"


def importing(quick: bool) -> list[Comparison]:
    """Goal: no more than 20 % on top of torch and Lightning."""
    rounds = 1 if quick else 9
    codes = [
        (f"{_BASE}, oahier", "import torch, lightning, oahier", 1.2),
        ("import oahier; oahier.HierarchicalClassifier", "import oahier, use HierarchicalClassifier", 1.2),
        (f"import oahier; {_MODEL}; {_REST}", "import oahier, use all names of the quick start", None),
    ]
    results = []
    for code, name, goal in codes[:1] if quick else codes:
        made = in_turn(partial(_run, code), partial(_run, _BASE), rounds, warm_up=not quick)
        results.append(Comparison(name, _BASE, made, goal))
    return results


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
