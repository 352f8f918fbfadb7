from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

import oahier as oh
from oahier.encoders import NnMamba, as_encoder
from oahier.encoders.nnmamba import VoxelMamba
from oahier.saliency.tail import TailExplainer
from oahier.testing import check_encoder, tiny_batch, tiny_batches, tiny_dataloader, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(**arguments: Any) -> oh.HierarchicalClassifier:
    return oh.HierarchicalClassifier(
        NnMamba(channels=4, blocks=1, num_features=8),
        heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()},
        **arguments,
    )


def marked(module: nn.Module) -> set[str]:
    return {name for name, item in module.named_parameters() if getattr(item, "_no_weight_decay", False)}


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 24, 14), (5, 6, 9)])
def test_contract(shape: tuple[int, int, int]) -> None:
    check_encoder(NnMamba(4, 2, 8), shape)


def test_published_number_of_parameters() -> None:
    """12.88 M, as printed in arXiv:2605.00718."""
    encoder = as_encoder("nnmamba")
    assert isinstance(encoder, NnMamba)
    assert f"{sum(item.numel() for item in encoder.parameters()) / 1e6:.2f}" == "12.88"
    assert encoder.num_features == 32
    assert encoder.projection.in_features == 448


def test_maps_and_embedding() -> None:
    encoder = NnMamba(4, 1, 8).eval()
    with torch.no_grad():
        maps = encoder.features(torch.randn(2, 1, 32, 48, 16))
        assert [tuple(item.shape[1:]) for item in maps] == [
            (4, 16, 24, 8), (8, 8, 12, 4), (16, 4, 6, 2), (32, 2, 3, 1),
        ]  # fmt: skip
        pooled = torch.cat([item.flatten(2).mean(2) for item in maps[1:]], dim=1)
        torch.testing.assert_close(encoder.embed(maps), encoder.projection(pooled))


def test_the_scan_runs_once_through_all_voxels_in_the_order_of_the_array() -> None:
    """A voxel hears of those before it and of none after it."""
    mixer = VoxelMamba(8).eval()
    volume = torch.randn(1, 8, 3, 4, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(mixer(volume)[0, :, 1, 2, 3].sum(), volume)
    heard = gradient[0].abs().sum(dim=0).flatten()
    here = (1 * 4 + 2) * 5 + 3
    assert bool((heard[here - 10 : here + 1] > 0).all())
    assert not bool(heard[here + 1 :].any())


def test_dynamics_are_spared_from_weight_decay() -> None:
    model = tiny(optimizer=functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.1))
    optimizer = model.configure_optimizers()
    decayed, spared = optimizer.param_groups
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0
    assert spared["lr"] == decayed["lr"] == 1e-3
    named = {id(item): name for name, item in model.named_parameters()}
    assert {named[id(item)].rpartition(".")[2] for item in spared["params"]} == {"A_log", "D"}
    assert len(decayed["params"]) + len(spared["params"]) == len(named)


@pytest.mark.parametrize(
    ("optimizer", "groups"),
    [
        (functools.partial(torch.optim.AdamW, weight_decay=0.0), 1),
        (functools.partial(torch.optim.SGD, lr=0.1, weight_decay=0.1), 2),
        (torch.optim.Rprop, 1),
        (torch.optim.LBFGS, 1),
        (lambda parameters: torch.optim.AdamW([p for p in parameters if p.requires_grad]), 2),
    ],
)
def test_any_optimizer_is_still_taken(optimizer: Any, groups: int) -> None:
    made = tiny(optimizer=optimizer).configure_optimizers()
    assert len(made.param_groups) == groups
    plain = oh.HierarchicalClassifier(oh.ResNet3D(10, 8), {"kl": oh.SoftmaxHead()}, optimizer=optimizer)
    assert len(plain.configure_optimizers().param_groups) == 1


def test_copies_are_spared_too() -> None:
    encoder = NnMamba(4, 1)
    assert len(marked(encoder)) == 2
    assert marked(copy.deepcopy(encoder)) == marked(encoder)


def test_trains_resumes_and_reloads_without_arguments(tmp_path: Path) -> None:
    batches = tiny_batches(2)
    scheduler = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)

    def run(epochs: int, checkpoint: Path | None = None) -> tuple[L.Trainer, oh.HierarchicalClassifier]:
        L.seed_everything(0, verbose=False)
        model = tiny(lr_scheduler=scheduler)
        trainer = tiny_trainer(tmp_path, max_epochs=epochs)
        trainer.fit(
            model,
            tiny_dataloader(batches),
            tiny_dataloader(batches[:1]),
            ckpt_path=checkpoint,
            weights_only=True,
        )
        return trainer, model

    trainer, half = run(1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    name, initial = "encoder.stem.6.mamba.A_log", tiny().state_dict()
    assert not torch.equal(half.state_dict()[name], initial[name])
    _, resumed = run(2, tmp_path / "half.ckpt")
    _, whole = run(2)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(tmp_path / "half.ckpt").eval()
    volume = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(loaded(volume)["kl"], half.eval()(volume)["kl"])


@pytest.mark.parametrize("stage", [-1, 1, 0])
@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_saliency_has_a_map(stage: int, method: Any) -> None:
    model = tiny().eval()
    batch = tiny_batch((0, 4), (32, 32, 16))
    with torch.inference_mode():
        features = model.encoder.features(batch["mri"])
        explain = TailExplainer(model, "kl", method=method, stage=stage)
        saliency = explain(features, batch["targets"]["kl"], batch["mri"], batch["knee"])
    assert saliency.shape == (2, *features[stage].shape[2:])
    assert bool((saliency >= 0).all())
    assert float(saliency.std()) > 0


def test_autocast_keeps_the_scan_in_32_bit() -> None:
    model = tiny()
    volume = torch.randn(2, 1, 16, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(volume)
    logits["kl"].float().sum().backward()
    assert bool(torch.isfinite(logits["kl"]).all())
    gradients = [item.grad for item in model.encoder.parameters()]
    assert all(item is not None and item.dtype == torch.float32 for item in gradients)


@pytest.mark.parametrize("name", ["channels", "blocks", "num_features"])
def test_bad_arguments_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"NnMamba: {name} must be at least 1, got 0"):
        NnMamba(**{name: 0})
