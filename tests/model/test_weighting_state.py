"""Weightings with a state: resumed bit by bit, with probes, terms and batches without labels; under DDP."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import oahier as oh
from oahier.losses import AxisOrder, DynamicWeightAverage, GradNorm, HierarchyConsistency, PCGrad
from oahier.testing import TinyEncoder, tiny_batches, tiny_dataloader, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def model(weighting):
    torch.manual_seed(0)
    heads = {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(), "side": oh.SoftmaxHead(target="kl")}
    terms = {"agree": HierarchyConsistency(), "order": AxisOrder()}
    encoder = TinyEncoder()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout3d):  # resumed random states are a callback's matter
            module.p = 0.0
    return oh.HierarchicalClassifier(encoder, heads, weighting, terms=terms, probes=["side"])


def fit(tmp_path, made, epochs, **options):
    trainer = tiny_trainer(tmp_path, max_epochs=epochs, limit_val_batches=0)
    data = tiny_dataloader(tiny_batches(4, 3, missing=True))
    trainer.fit(made, data, data, **options)
    return trainer


@pytest.mark.parametrize("kind", [GradNorm, PCGrad, DynamicWeightAverage])
def test_a_resumed_run_is_the_run(tmp_path, kind):
    straight = model(kind())
    fit(tmp_path, straight, 5)
    half = model(kind())
    fit(tmp_path, half, 3).save_checkpoint(tmp_path / "half.ckpt")
    resumed = model(kind())
    fit(tmp_path, resumed, 5, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    state = straight.state_dict()
    assert all(torch.equal(state[name], value) for name, value in resumed.state_dict().items())
    assert any(not torch.equal(state[name], value) for name, value in half.state_dict().items())
    if kind is DynamicWeightAverage:
        assert straight.weighting.names == ["oa", "kl", "agree", "order"]
        assert not torch.allclose(straight.weighting.weights(), torch.ones(4))
    if kind is GradNorm:
        assert (straight.weighting.first > 1e-4).all()
        assert straight.weighting.logits.abs().max() > 0


SCRIPT = """
    import sys
    import lightning as L, torch
    import oahier as oh
    from oahier.losses import AxisOrder, DynamicWeightAverage, GradNorm
    from oahier.testing import TinyEncoder, tiny_batches, tiny_dataloader, tiny_trainer

    class Watch(L.Callback):
        def on_train_end(self, trainer, module):
            state = torch.cat([item.detach().flatten() for item in module.parameters()])
            both = trainer.strategy.all_gather(state)
            assert torch.equal(both[0], both[1]), "the processes differ"
            assert bool(state.isfinite().all())
            if trainer.is_global_zero:
                print("same", len(state))

    if __name__ == "__main__":
        for weighting in (GradNorm(), DynamicWeightAverage()):
            torch.manual_seed(0)
            heads = {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()}
            module = oh.HierarchicalClassifier(TinyEncoder(), heads, weighting, terms={"order": AxisOrder()})
            trainer = L.Trainer(
                accelerator="cpu", devices=2, strategy="ddp", max_epochs=4, logger=False, callbacks=[Watch()],
                enable_checkpointing=False, enable_progress_bar=False, default_root_dir=sys.argv[1],
                limit_val_batches=0,
            )
            data = tiny_dataloader(tiny_batches(8, 3, missing=True))
            trainer.fit(module, data, data)
"""


@pytest.mark.slow
def test_two_processes_keep_one_state(tmp_path: Path) -> None:
    """Loss weights are parameters, or follow from buffers, which DDP copies from the first process."""
    script = tmp_path / "two.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("same") == 2
