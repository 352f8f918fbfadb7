"""Trainings for the limits of the severity axis: a baseline, and what may move its axis.

Dual supervision by the default recipe (cumulative head, balanced grades) of a small encoder, by readers who
agree in 40 %. Every arm changes one thing, the last two change three.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

import oahier as oh
from oahier.data import BatchAugmentation
from oahier.files import write_atomically
from oahier.latent import fit_severity_axis
from oahier.losses import RankNContrast
from oahier.study.quiet import quietly

KINDS = ("pca", "lda", "regression")


class ExactHead(oh.RegressionHead):
    """Regression on a measured number, the true severity in grades."""

    learns_from = "numbers"

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The base's, of labels that are no classes."""
        sigma = self.sigma
        return ((labels - logits[:, 0]) / sigma).square() / 2 + sigma.log()


@dataclass(frozen=True)
class Arm:
    """What a training has that the baseline has not."""

    grid: str = "whole"
    manifest: str = "read"
    """``read`` by readers of 40 %, ``true`` grades, or ``more`` knees or ``both`` scans read by them."""
    exact: bool = False
    epochs: int = 1
    """Times those of the baseline."""
    width: int = 8
    augmentation: Any = None
    terms: dict[str, Any] = field(default_factory=dict)
    mirrored: bool = False
    starts: int = 1
    draws: int = 0
    """Augmentations of each test scan whose embeddings are also averaged."""


ARMS: dict[str, Arm] = {
    "baseline": Arm(draws=8),
    "readers who never err": Arm(manifest="true"),
    "true severity as label": Arm(manifest="true", exact=True),
    "four times the knees": Arm(manifest="more"),
    "both scans of every knee": Arm(manifest="both"),
    "left knees mirrored": Arm(mirrored=True),
    "voxels half as wide, the joint alone": Arm(grid="joint"),
    "four times the epochs": Arm(epochs=4),
    "twice the width": Arm(width=16),
    "mild augmentation": Arm(augmentation="mild"),
    "Rank-N-Contrast": Arm(terms={"contrast": RankNContrast}),
    "three starts averaged": Arm(starts=3),
    "half as wide, mirrored, four times the epochs": Arm(grid="joint", mirrored=True, epochs=4),
    "the same, true severity as label": Arm(
        grid="joint", manifest="true", exact=True, mirrored=True, epochs=4
    ),
}


def data_module(folder: Path, arm: Arm, seed: int, grid: tuple[Any, Any]) -> oh.KneeMRIDataModule:
    """The knees of an arm and a seed."""
    return oh.KneeMRIDataModule(
        folder / arm.grid / f"{arm.manifest}_{seed}.csv",
        shape=grid[0],
        spacing=grid[1],
        targets=("oa", "kl", *(["exact"] if arm.exact else [])),
        batch_size=24,
        augmentation=arm.augmentation,
        balanced=True,
        mirror_left=arm.mirrored,
        cache=folder / "cache",
    )


def trained(arm: Arm, data: oh.KneeMRIDataModule, start: int, epochs: int) -> oh.HierarchicalClassifier:
    """One training; nothing is selected."""
    L.seed_everything(start, verbose=False)
    grade = ExactHead(target="exact") if arm.exact else oh.CumulativeHead()
    model = oh.HierarchicalClassifier(
        oh.ResNet3D(depth=10, width=arm.width, norm="batch"),
        heads={"oa": oh.BinaryHead(), "kl": grade},
        optimizer=functools.partial(torch.optim.AdamW, lr=0.004, weight_decay=0.01),
        lr_scheduler=oh.CosineSchedule,
        terms={name: term() for name, term in arm.terms.items()},
    )
    trainer = L.Trainer(
        max_epochs=epochs * arm.epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, data)
    return model.eval()


@torch.inference_mode()
def embedded(
    model: oh.HierarchicalClassifier, data: oh.KneeMRIDataModule, split: str, draw: int | None = None
) -> tuple[Tensor, Tensor, Tensor, list[str]]:
    """Embeddings, expected grades, labels and names of a split; augmented by a ``draw`` if one is given."""
    augment, found = BatchAugmentation(), []
    for number, batch in enumerate(data.evaluation_dataloader(split)):
        mri = batch["mri"]
        if draw is not None:
            seeds = 100_000 * draw + 1000 * number + torch.arange(len(mri))
            mri = augment(mri, None, batch["affine"][:, :3, :3].double().norm(dim=1), seeds)[0]
        embedding = model.embed(model.maps(mri))
        head = model.heads["kl"]
        logits = model.logits_from_embedding(embedding)["kl"]
        grade = logits[:, 0] if isinstance(head, oh.RegressionHead) else head.severity(logits)
        found.append((embedding, grade, batch["targets"]["kl"], list(batch["knee"])))
    embeddings, grades, labels, knees = zip(*found, strict=True)
    return (
        torch.cat(embeddings),
        torch.cat(grades),
        torch.cat(labels),
        [one for batch in knees for one in batch],
    )


def placed(model: oh.HierarchicalClassifier, data: oh.KneeMRIDataModule, draws: int) -> dict[str, np.ndarray]:
    """Places of the test scans by each kind of axis and by the expected grade, in spreads of the training."""
    embedding, grade, labels, _ = embedded(model, data, "train")
    tested, expected, _, knees = embedded(model, data, "test")
    seen = {"": (tested, expected)}
    if draws:
        each = [embedded(model, data, "test", draw) for draw in range(1, draws + 1)]
        seen[", averaged"] = tuple(torch.stack([one[at] for one in each]).mean(dim=0) for at in (0, 1))
    found = {"knee": np.array(knees)}
    for name, (embeddings, grades) in seen.items():
        found[f"grade{name}"] = ((grades - grade.mean()) / grade.std()).numpy()
        for kind in KINDS:
            axis = fit_severity_axis(embedding, labels, kind=kind)
            found[f"{kind}{name}"] = (axis.project(embeddings) / axis.project(embedding).std()).numpy()
    return found


def train(path: Path, folder: Path, arm: Arm, seed: int, grid: tuple[Any, Any], epochs: int) -> None:
    """All starts of an arm and a seed; their places are averaged and written to ``path``."""
    torch.set_num_threads(1)
    with quietly():
        data = data_module(folder, arm, seed, grid)
        each = []
        for start in range(arm.starts):
            model = trained(arm, data, seed + 1000 * start, epochs)
            data.setup("test")
            each.append(placed(model, data, arm.draws))
    mean = {
        name: np.mean([one[name] for one in each], axis=0) if name != "knee" else each[0][name]
        for name in each[0]
    }
    content = io.BytesIO()
    np.savez_compressed(content, **mean)
    write_atomically(path, content.getvalue())
