"""The main job: phantom knees, a dual-head model, and its held-out results, in three commands.

Each step is what a user would type; this file only runs them one after another in one process.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import oahier
from oahier.cli import main

_RESULTS = (
    ("OA found, area under the ROC curve", "test/oa/auc", "0.50"),
    ("KL grade, quadratic weighted kappa", "test/kl/qwk", "0.00"),
    ("KL grade, share exactly right", "test/kl/accuracy", "0.20"),
)
_FIGURES = {
    "kl_confusion_matrix.png": "true against predicted grades",
    "severity_axis.png": "do test knees lie in the order of their grades?",
    "saliency.png": "where the score comes from, over the MRI with the cartilage outlined",
    "learning_curves.png": "loss and metrics after each epoch",
}
CONFIG = Path(oahier.__file__).parent / "configs" / "demo.yaml"


def run(folder: Path, knees: int, options: list[str]) -> int:
    """Write phantoms, fit and test; every result lies in ``folder``."""
    steps = [
        ["data", "phantom", str(folder / "phantoms"), "--knees", str(knees), "--shape", "[48,64,64]"],
        [
            "fit",
            f"--config={CONFIG}",
            f"--trainer.default_root_dir={folder}",
            f"--trainer.logger.init_args.save_dir={folder}",
            f"--data.manifest={folder / 'phantoms' / 'manifest.csv'}",
            "--overwrite",
            *options,
        ],
        ["test", f"--config={folder / 'config.yaml'}"],
    ]
    for step in steps:
        print(f"\n$ oahier {' '.join(step)}", flush=True)
        status = main(step)
        if status:
            return status
    print(summary(folder), flush=True)
    return 0


def summary(folder: Path) -> str:
    """The last screen: what was trained, how good it is, which figures to open, and what to type next."""
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    manifest = oahier.read_manifest(folder / "phantoms" / "manifest.csv")
    knees = manifest.table
    counts = knees["split"].value_counts()
    lines = [
        "",
        "WHAT WAS TRAINED",
        f"  One network with two heads, OA (yes or no) and KL grade (0 to 4), on {len(knees)} phantom knees:",
        "  computed volumes with known grades, no patients. "
        f"{counts['train']} trained it, {counts['val']} chose the epoch.",
        "",
        f"HOW GOOD IT IS on {found['knees']} test knees that it never saw (95 % interval)",
        *(_result(found, *row) for row in _RESULTS),
        "  Phantoms are easier than patients: these values show that the tools work, nothing more.",
        "",
        f"OPEN (in {folder / 'pictures'})",
        *(f"  {name:<25} {text}" for name, text in _FIGURES.items()),
        "",
        "TYPE NEXT",
    ]
    if sys.prefix != sys.base_prefix:
        lines.append(f"  source {Path(sys.prefix) / 'bin' / 'activate'}   # then oahier is on the path")
    scan = manifest.root / knees.loc[knees["split"] == "test", "mri"].iloc[0]
    best = folder / "checkpoints" / "best.ckpt"
    return "\n".join([
        *lines,
        f"  oahier predict {best} {scan} --output {folder / 'graded'}",
        f"                     # a page of one test knee, {folder / 'graded' / 'index.html'}",
        "  oahier init        # configurations for knees of your own, see docs/tutorials/own-knees.md",
    ])  # fmt: skip


def _result(found: dict[str, Any], title: str, key: str, guess: str) -> str:
    value, (low, high) = found["metrics"][key], found["intervals"].get(key) or (None, None)
    if value is None:
        return f"  {title:<36} not defined: these test knees lack a class"
    between = "no interval" if low is None or high is None else f"{low:.2f} to {high:.2f}"
    return f"  {title:<36} {value:.2f}  ({between}), {guess} by guessing"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/demo"), help="where everything is written")
    parser.add_argument("--knees", type=int, default=240, help="number of phantom knees")
    known, further = parser.parse_known_args()
    sys.exit(run(known.folder, known.knees, further))
