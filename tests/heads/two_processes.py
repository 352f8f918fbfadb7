"""Trains three heads on two processes, some batches without labels: ``python two_processes.py FOLDER``."""

import sys
from pathlib import Path

import lightning as L
import torch

import oahier as oh
from oahier.testing import TinyEncoder, tiny_batch, tiny_dataloader, tiny_trainer
from oahier.types import MISSING

GRADES = [(0, 3), (MISSING, MISSING), (4, MISSING), (2, 1), (MISSING, 0), (3, 3)]
"""Two knees a batch; the processes take turns, and the second has no label in its first step."""


def main(folder: str) -> None:
    torch.set_num_threads(1)
    L.seed_everything(3, verbose=False)
    heads = {
        "kl": oh.ConditionalHead(criterion=oh.HierarchicalCrossEntropy()),
        "thresholds": oh.CumulativeHead(target="kl", criterion=oh.Sord()),
        "oa": oh.MarginalHead(),
    }
    model = oh.HierarchicalClassifier(TinyEncoder(), heads)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = tiny_trainer(folder, devices=2, strategy="ddp", max_epochs=2, limit_val_batches=0)
    trainer.fit(model, tiny_dataloader([tiny_batch(kl, (8, 8, 8), seed=i) for i, kl in enumerate(GRADES)]))
    torch.save(
        {"before": before, "after": model.state_dict()}, Path(folder) / f"rank{trainer.global_rank}.pt"
    )


if __name__ == "__main__":
    main(sys.argv[1])
