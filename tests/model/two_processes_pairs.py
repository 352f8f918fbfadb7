"""Pairs of visits on one or two processes: ``python two_processes_pairs.py FOLDER MANIFEST PROCESSES``."""

import functools
import sys
from pathlib import Path

import lightning as L
import torch

import oahier as oh
from oahier.data import VisitPairsDataModule
from oahier.model import ChangeModel
from oahier.testing import tiny_trainer


def main(folder: str, manifest: str, processes: int) -> None:
    torch.set_num_threads(1)
    L.seed_everything(3, verbose=False)
    pairs = VisitPairsDataModule(  # all training knees a step, however they are dealt
        manifest, (8, 12, 12), batch_size=8 // processes, cache=Path(manifest).parent / "c"
    )
    # no batch normalisation or dropout, which see one process's share
    encoder = oh.ResNet3D(depth=10, width=8, norm="group")
    model = ChangeModel(encoder, optimizer=functools.partial(torch.optim.SGD, lr=0.1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = tiny_trainer(
        folder,
        callbacks=[oh.OrdinalMetrics(0), oh.PredictionWriter(), oh.LearningCurves(figure_every_n_epochs=0)],
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=2,
    )
    trainer.fit(model, datamodule=pairs)
    trainer.test(model, datamodule=pairs, verbose=False)
    if trainer.is_global_zero:
        torch.save({"before": before, "after": model.state_dict()}, Path(folder) / "weights.pt")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
