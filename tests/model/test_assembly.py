from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from miniature.training import fit, step
from torch import nn

import oahier as oh
from oahier.losses import FixedWeights
from oahier.model.assembly import as_factory, as_heads, as_weighting
from oahier.testing import TinyEncoder, tiny_batch, tiny_batches, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "heads",
    [
        {"oa": oh.SoftmaxHead(2, reads="kl"), "kl": oh.SoftmaxHead(5, reads="oa")},
        {"oa": oh.SoftmaxHead(2, reads="oa")},
        {"oa": oh.SoftmaxHead(2, reads="grade"), "kl": oh.SoftmaxHead(5)},
    ],
    ids=["circle", "itself", "unknown"],
)
def test_impossible_reading_is_refused(heads: dict[str, oh.Head]) -> None:
    with pytest.raises(ValueError, match=r"heads\['oa'\] reads '\w+': expected another head among"):
        oh.HierarchicalClassifier(TinyEncoder(), heads)


def test_target_of_another_name() -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"grade": oh.SoftmaxHead(5, target="kl")})
    batch = tiny_batch((2, 3))
    assert model.target_of("grade") == "kl"
    assert torch.equal(step(model, batch)["targets"]["grade"], batch["targets"]["kl"])


def test_head_belongs_to_one_model() -> None:
    head = oh.BinaryHead()
    oh.HierarchicalClassifier(TinyEncoder(), {"oa": head})
    with pytest.raises(ValueError, match=r"heads\['oa'\]: this head already belongs to another model"):
        oh.HierarchicalClassifier(TinyEncoder(), {"oa": head})
    head = oh.BinaryHead()
    with pytest.raises(ValueError, match=r"heads\['b'\]: this head already belongs to heads\['a'\]"):
        oh.HierarchicalClassifier(TinyEncoder(), {"a": head, "b": head})


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "keys", "training", "k l"])
def test_head_names_stand_in_metric_keys(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name of letters, digits"):
        as_heads({name: oh.BinaryHead()})


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    [
        ({}, ValueError, "heads is empty: give at least one"),
        (oh.SoftmaxHead(), TypeError, "expected heads by name, .* got SoftmaxHead"),
        (
            {"kl": nn.Linear(1, 1)},
            TypeError,
            r"heads\['kl'\]: expected a subclass of oahier.Head .* got Linear",
        ),
        ({"kl": {"class_path": "oahier.SoftmaxHed"}}, ValueError, "Did you mean 'SoftmaxHead'"),
        ({"kl": {"class_path": "torch.nn.Linear"}}, ValueError, "expected a subclass of Head, got Linear"),
    ],
)
def test_bad_heads_are_named(heads: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_heads(heads)


def test_weights_of_unknown_heads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \['kl', 'oa'\], got \['ao', 'kl'\]"):
        tiny_model(loss_weights={"ao": 1.0, "kl": 1.0})


def test_probes_have_no_weight() -> None:
    heads = {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(probe=True)}
    with pytest.raises(ValueError, match=r"expected \['oa'\]"):
        oh.HierarchicalClassifier(TinyEncoder(), heads, loss_weights={"oa": 1.0, "kl": 1.0})


def test_bad_parts_are_named() -> None:
    with pytest.raises(TypeError, match=r"loss_weights: expected weights by head name .* got list"):
        as_weighting([1.0])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    with pytest.raises(TypeError, match=r"optimizer: expected a class or function .* got SGD"):
        as_factory("optimizer", optimizer, torch.optim.Optimizer)


def test_weighting_may_be_a_spec() -> None:
    spec = {"class_path": "oahier.losses.FixedWeights", "init_args": {"weights": {"oa": 2.0}}}
    model = oh.HierarchicalClassifier(TinyEncoder(), {"oa": oh.BinaryHead()}, loss_weights=as_weighting(spec))
    assert isinstance(model.weighting, FixedWeights)
    assert model.weighting.weights == {"oa": 2.0}


def test_learned_weights_are_optimised(tmp_path: Path) -> None:
    model = tiny_model(loss_weights=oh.UncertaintyWeights())
    fit(tmp_path, model, tiny_batches(3))
    assert all(value.item() != 0 for value in model.weighting.parameters())


def test_optimizer_and_scheduler(tmp_path: Path) -> None:
    model = tiny_model(
        optimizer=functools.partial(torch.optim.SGD, lr=0.5, momentum=0.9),
        lr_scheduler=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1),
    )
    trainer = fit(tmp_path, model, tiny_batches(2), max_epochs=2)
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    rebuilt = oh.HierarchicalClassifier.from_specification(model.specification)
    assert rebuilt.specification == model.specification
    made = rebuilt.configure_optimizers()
    assert made["optimizer"].param_groups[0]["momentum"] == 0.9


def test_scheduler_that_watches_the_validation_loss(tmp_path: Path) -> None:
    plateau = functools.partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0)
    model = tiny_model(lr_scheduler=plateau)
    trainer = fit(tmp_path, model, tiny_batches(2), max_epochs=2)
    assert trainer.lr_scheduler_configs[0].monitor == "val/loss"
