r"""An encoder that has learned from phantoms of bones, for networks that read bones only.

    python examples/phantom_pretraining.py --folder runs/phantoms \
        --data.shape [40,64,96] --data.spacing [2.0,1.7,0.73]

Phantom knees are drawn on a fine grid, and of each only the bones are kept: the share of a voxel that is
femur or tibia, as a segmentation network gives it. ``oahier fit`` then trains ``own_data.yaml`` on their
true grades; further options go to it. Nothing real is read, so the weights may be fine-tuned on any fold of
real knees (``oahier.callbacks.PretrainedWeights``). Knees that are there already are not drawn again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

import oahier
from oahier.cli import main
from oahier.files import write_atomically
from oahier.phantom.cohort import plan_subject
from oahier.phantom.knee import phantom_knee
from oahier.progress import progress

CONFIG = Path(oahier.__file__).parent / "configs" / "own_data.yaml"
SHAPE, SPACING = (56, 150, 175), (2.0, 0.85, 0.73)
"""Grid on which the bones are drawn: 112 x 128 x 128 mm, fine across the joint gap."""
BONES = (1, 3)
EDGE_MM = 0.4
"""Blur of a segmentation network's edges, a standard deviation."""


def draw(number: int, path: Path) -> dict[str, object]:
    """Write the bones of one subject's knee; returns its row of the manifest."""
    plan = plan_subject(number, seed=0, knees=1, visits=1, grade_weights=(1, 1, 1, 1, 1))[0]
    if not path.is_file():
        knee = phantom_knee(
            plan.severity, shape=SHAPE, spacing=SPACING, side=plan.side, anatomy=plan.anatomy, scan=plan.scan
        )
        share = gaussian_filter(
            np.isin(knee.label_map, BONES).astype(np.float32), [EDGE_MM / step for step in SPACING]
        )
        image = nib.Nifti1Image(np.rint(255 * share).astype(np.uint8), knee.affine)
        write_atomically(path, image.to_bytes())
    return {"knee": plan.knee, "subject": plan.subject, "mri": path.name, "kl": plan.true_kl}


def draw_all(folder: Path, knees: int) -> Path:
    """Knees and their manifest, one in ten for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        draw(number, folder / f"bones-{number:04d}.nii") | {"split": "val" if number % 10 == 0 else "train"}
        for number in progress(range(knees), knees, "bones")
    ]
    return write_atomically(folder / "manifest.csv", pd.DataFrame(rows).to_csv(index=False))


def train(words: list[str] | None = None) -> int:
    """Draw the knees, then train on them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/phantoms"))
    parser.add_argument("--knees", type=int, default=800)
    known, further = parser.parse_known_args(words)
    manifest = draw_all(known.folder / "knees", known.knees)
    run = known.folder / "run"
    return main(
        [
            "fit",
            f"--config={CONFIG}",
            f"--trainer.default_root_dir={run}",
            f"--data.manifest={manifest}",
            *further,
        ]
    )


if __name__ == "__main__":
    sys.exit(train())
