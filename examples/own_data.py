"""One's own knees: write a manifest, check it, train on it.

The manifest is one CSV table with a row per knee. ``knee``, ``subject`` and ``mri`` are required;
``kl``, ``oa``, ``cartilage``, ``side``, ``visit`` and ``split`` are used where they exist. Paths are relative
to the table. Here phantoms play the part of the volumes on your disk.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import lightning as L

import oahier as oh
from oahier.audit import check_manifest


def write_manifest(volumes: Path, labels: dict[str, int], path: Path) -> Path:
    """A manifest from a folder of NIfTI files and the KL grades that are known."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["knee", "subject", "mri", "kl"])
        for volume in sorted(volumes.glob("*.nii.gz")):
            knee = volume.name.removesuffix(".nii.gz")
            subject = knee.rsplit("-", 1)[0]  # both knees of a subject share the first part of the name
            table.writerow([knee, subject, volume.relative_to(path.parent), labels.get(knee, "")])
    return path


def main(folder: str = "runs/own-data", knees: int = 40, epochs: int = 2) -> L.Trainer:
    """Write volumes as a user has them, then manifest, check and training."""
    phantoms = oh.make_phantoms(f"{folder}/phantoms", knees=knees)
    volumes = Path(folder, "volumes")
    volumes.mkdir(parents=True, exist_ok=True)
    for row in phantoms.table.itertuples():
        target = volumes / f"{row.knee}.nii.gz"
        if not target.exists():
            target.write_bytes((phantoms.root / row.mri).read_bytes())
    grades = dict(zip(phantoms.table["knee"], phantoms.table["kl"], strict=True))
    path = write_manifest(volumes, grades, Path(folder, "knees.csv"))

    errors = [problem for problem in check_manifest(path) if problem.severity == "error"]
    if errors:  # on the command line: oahier data check knees.csv
        raise SystemExit("\n".join(map(str, errors)))

    L.seed_everything(0)
    data = oh.KneeMRIDataModule(path, shape=(32, 48, 48))  # no split column: made by subject, with a seed
    model = oh.HierarchicalClassifier(
        oh.ResNet3D(depth=10, width=8, norm="group"), heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()}
    )
    trainer = L.Trainer(
        max_epochs=epochs, default_root_dir=folder, callbacks=[oh.OrdinalMetrics(), oh.PredictionWriter()]
    )
    trainer.fit(model, data)
    trainer.test(model, data)
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:2])
