"""The main job: phantom knees, a dual-head model, and its held-out results, in three commands.

Each step is what a user would type; this file only runs them one after another in one process.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import oahier
from oahier.cli import main

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
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/demo"), help="where everything is written")
    parser.add_argument("--knees", type=int, default=240, help="number of phantom knees")
    known, further = parser.parse_known_args()
    sys.exit(run(known.folder, known.knees, further))
