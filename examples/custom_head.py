"""A head of one's own: cumulative logits (CORAL; Cao, Mirjalili & Raschka 2020, arXiv:1901.07884).

One weight vector orders the knees, one threshold a grade cuts the order. Nothing has to be registered:
use the class in Python, or name it in YAML as ``class_path: custom_head.CumulativeHead`` and add
``--trust custom_head`` to the command.
"""

from __future__ import annotations

import sys

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import oahier as oh
from oahier.testing import check_head


class CumulativeHead(oh.Head):
    """P(grade > k) = sigmoid(w.x + b_k) with thresholds that fall with k."""

    def __init__(self, num_classes: int = 5, **options: str | bool | None) -> None:
        super().__init__(num_classes, num_logits=num_classes - 1, **options)

    def build(self, in_features: int) -> None:
        """Make one shared weight vector and ordered thresholds."""
        self.direction = nn.Linear(in_features, 1, bias=False)
        self.first = nn.Parameter(torch.tensor(1.0))
        self.steps = nn.Parameter(torch.zeros(self.num_logits - 1))

    def forward(self, embedding: Tensor) -> Tensor:
        """Logits of ``grade > 0, grade > 1, ...``, falling from left to right."""
        thresholds = torch.cat([self.first[None], self.first - F.softplus(self.steps).cumsum(0)])
        return self.direction(embedding) + thresholds

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean binary cross-entropy of the ``num_classes - 1`` questions, for each row."""
        above = labels[:, None] > torch.arange(self.num_logits, device=labels.device)
        return F.binary_cross_entropy_with_logits(logits, above.to(logits.dtype), reduction="none").mean(
            dim=1
        )

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """``log(sigmoid(a) - sigmoid(b)) = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(b - a))``."""
        above = logits.cummin(dim=1).values  # falls already for the logits of this head
        gap = (above[:, :-1] - above[:, 1:]).clamp(min=1e-6)
        between = F.logsigmoid(above[:, :-1]) + F.logsigmoid(-above[:, 1:]) + torch.log(-torch.expm1(-gap))
        return torch.cat([F.logsigmoid(-above[:, :1]), between, F.logsigmoid(above[:, -1:])], dim=1)


def main(folder: str = "runs/custom-head", knees: int = 40, epochs: int = 2) -> L.Trainer:
    """Check the head, then train with it."""
    check_head(CumulativeHead())
    L.seed_everything(0)
    data = oh.KneeMRIDataModule(oh.make_phantoms(f"{folder}/phantoms", knees=knees), shape=(32, 48, 48))
    model = oh.HierarchicalClassifier(
        oh.ResNet3D(depth=10, width=8, norm="group"), heads={"oa": oh.BinaryHead(), "kl": CumulativeHead()}
    )
    trainer = L.Trainer(max_epochs=epochs, default_root_dir=folder, callbacks=[oh.OrdinalMetrics()])
    trainer.fit(model, data)
    trainer.test(model, data)
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:2])
