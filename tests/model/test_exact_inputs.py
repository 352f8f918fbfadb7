"""Half-precision trainings leave geometry and measurements as they come."""

from __future__ import annotations

import lightning as L
import pytest
import torch

import oahier as oh
from oahier.testing import TinyEncoder, tiny_batch, tiny_dataloader, tiny_trainer


class Seen(L.Callback):
    """Keeps the batches that steps were given."""

    def __init__(self) -> None:
        self.batches = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append(batch)

    on_validation_batch_end = on_test_batch_end = on_train_batch_end


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "32-true"])
def test_affines_and_measurements_are_not_rounded(tmp_path, precision):
    affine = torch.tensor([0.3651234567891, 0.7123456, 101.0012345, 1.0], dtype=torch.float64).diag()
    batch = tiny_batch((0, 3), (8, 8, 8))
    batch["affine"] = affine.repeat(2, 1, 1)
    batch["targets"]["jsw"] = torch.tensor([4.3512345, 5.1298765])
    heads = {"kl": oh.SoftmaxHead()}
    seen = Seen()
    trainer = tiny_trainer(tmp_path, callbacks=[seen], precision=precision, max_epochs=2)
    model = oh.HierarchicalClassifier(TinyEncoder(), heads)
    loader = tiny_dataloader([batch])
    trainer.fit(model, loader, loader)
    trainer.test(model, loader, verbose=False)
    assert len(seen.batches) >= 5
    half = {"bf16-true": torch.bfloat16, "16-true": torch.float16}.get(precision, torch.float32)
    for one in seen.batches:
        assert one["mri"].dtype == half
        assert torch.equal(one["affine"], batch["affine"])
        assert torch.equal(one["targets"]["jsw"], batch["targets"]["jsw"])
