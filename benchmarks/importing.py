"""``import oahier`` over importing torch and Lightning, in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import Comparison, alternate, seconds


def _run(code: str) -> float:
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def importing(quick: bool) -> list[Comparison]:
    """Goal: no more than 20 % on top of torch and Lightning."""
    rounds = 1 if quick else 7
    base = "import torch, lightning"
    results = []
    for name, code in {
        "import oahier": f"{base}; import oahier",
        "import oahier, and use model and heads": (
            f"{base}; import oahier as oh; oh.HierarchicalClassifier; oh.ResNet3D; oh.BinaryHead"
        ),
        "import oahier, and use everything in the quick start": (
            f"{base}; import oahier as oh; oh.HierarchicalClassifier; oh.KneeMRIDataModule; "
            "oh.OrdinalMetrics; oh.SeverityAxis; oh.CartilageSaliency; oh.BinaryHead"
        ),
    }.items():
        ratios, times = alternate(lambda code=code: _run(code), lambda: _run(base), rounds)
        goal = 1.2 if name == "import oahier" else None
        results.append(Comparison(name, "import torch, lightning", ratios, goal, seconds=times))
    return results
