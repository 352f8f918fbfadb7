"""The axis and saliency on one or two processes: ``python SCRIPT FOLDER PROCESSES``."""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

import oahier as oh
from oahier.testing.batches import tiny_batch
from oahier.testing.model import tiny_trainer


def still_model():
    """A model that training does not change, so that both runs measure the same weights."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv3d(1, 6, 3, 2, 1), nn.ELU(), nn.Conv3d(6, 6, 3, 2, 1), nn.ELU())
    model = oh.HierarchicalClassifier(
        oh.PlainEncoder(module, num_features=6),
        {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()},
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    )
    for parameter in model.heads.parameters():
        nn.init.normal_(parameter)
    return model


def knees(count, first):
    """One knee a batch; each has cartilage elsewhere, the third one none; the second one has no grade."""
    batches = [tiny_batch((index % 5,), seed=first + index, first=first + index) for index in range(count)]
    batches[1]["targets"]["kl"][:] = -1
    for index, batch in enumerate(batches):
        batch["cartilage"] = batch["cartilage"].roll(index, dims=3) * int(index != 2)
    return DataLoader(batches, batch_size=None)


def main(folder: str, processes: int) -> None:
    torch.set_num_threads(1)
    trainer = tiny_trainer(
        folder,
        callbacks=[
            oh.SeverityAxis(),
            oh.CartilageSaliency(figures=2, save_maps=True),
            oh.OrdinalMetrics(0),
            oh.LearningCurves(figure_every_n_epochs=0),
        ],
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=2,
        num_sanity_val_steps=1,
    )
    model = still_model()
    trainer.fit(model, knees(8, 0), knees(5, 20))
    trainer.test(model, knees(9, 40), verbose=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
