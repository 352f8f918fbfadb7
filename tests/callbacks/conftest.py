"""A model and data small enough to train in a moment, whose steps return what the real model's do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from oahier.types import StepOutput

WIDTHS = {"oa": 2, "kl": 5}


class TinyKnees(Dataset):
    """Knees that are three numbers, the first of which grows with the grade."""

    def __init__(
        self, knees: int, name: str = "knee", unlabelled: tuple[int, ...] = (), grades: int = 5
    ) -> None:
        generator = torch.Generator().manual_seed(knees)
        kl = torch.arange(knees) % grades
        self.values = torch.randn(knees, 3, generator=generator)
        self.values[:, 0] += kl
        self.oa = (kl >= 2).long()
        self.kl = kl.clone()
        self.kl[list(unlabelled)] = -1
        self.names = [f"{name}{index:03d}" for index in reversed(range(knees))]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        targets = {"oa": self.oa[index], "kl": self.kl[index]}
        return {
            "mri": self.values[index],
            "targets": targets,
            "knee": name,
            "subject": f"subject-{name[:-1]}",
        }


class TinyModel(L.LightningModule):
    """A linear encoder and a linear layer a head; dropout makes the random state matter."""

    def __init__(self, heads: tuple[str, ...] = ("oa", "kl")) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.1))
        self.heads = nn.ModuleDict({name: nn.Linear(4, WIDTHS[self.target_of(name)]) for name in heads})

    def target_of(self, head: str) -> str:
        return head.split("_")[0]

    def outputs(self, batch: dict[str, Any]) -> StepOutput:
        embedding = self.encoder(batch["mri"])
        logits = {name: head(embedding) for name, head in self.heads.items()}
        targets = {name: batch["targets"][self.target_of(name)] for name in logits}
        losses = {
            name: nn.functional.cross_entropy(logits[name], targets[name], ignore_index=-1) for name in logits
        }
        rows = {
            name: nn.functional.cross_entropy(
                value.detach(), targets[name], ignore_index=-1, reduction="none"
            ).masked_fill(targets[name] == -1, torch.nan)
            for name, value in logits.items()
        }
        loss = torch.stack(list(losses.values())).sum()
        probabilities = {name: value.detach().softmax(dim=1) for name, value in logits.items()}
        return StepOutput(
            loss=loss,
            losses=losses,
            row_losses=rows,
            features=(),
            embedding=embedding.detach(),
            logits=logits,
            probabilities=probabilities,
            severity={
                name: (value * torch.arange(value.shape[1], device=value.device)).sum(dim=1)
                for name, value in probabilities.items()
            },
            targets=targets,
            knee=batch["knee"],
            subject=batch["subject"],
        )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> StepOutput:
        output = self.outputs(batch)
        self.log(
            "train/loss", output["loss"].detach(), on_step=False, on_epoch=True, batch_size=len(batch["knee"])
        )
        return output

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> StepOutput:
        output = self.outputs(batch)
        self.log(
            "val/loss", output["loss"], batch_size=len(batch["knee"]), sync_dist=self.trainer.world_size > 1
        )
        return output

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> StepOutput:
        return self.outputs(batch)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> StepOutput:
        return self.outputs(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def tiny_loader(knees: int, *, shuffle: bool = False, **arguments: Any) -> DataLoader:
    return DataLoader(TinyKnees(knees, **arguments), batch_size=8, shuffle=shuffle)


@pytest.fixture
def loader() -> Callable[..., DataLoader]:
    return tiny_loader


@pytest.fixture
def tiny_model() -> Callable[..., TinyModel]:
    def make(*heads: str) -> TinyModel:
        L.seed_everything(3, verbose=False)
        return TinyModel(heads or ("oa", "kl"))

    return make


@pytest.fixture
def trainer(tmp_path) -> Callable[..., L.Trainer]:
    def make(*callbacks: L.Callback, **arguments: Any) -> L.Trainer:
        defaults: dict[str, Any] = {
            "default_root_dir": tmp_path,
            "max_epochs": 2,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        return L.Trainer(callbacks=list(callbacks), **(defaults | arguments))

    return make
