"""One component belongs to one model."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import oahier as oh
from oahier.losses import CrossEntropy, Focal
from oahier.testing import TinyEncoder, tiny_batch, tiny_model
from oahier.types import Step

pytestmark = pytest.mark.usefixtures("one_thread")


class Zero(oh.Term):
    def forward(self, step: Step) -> Tensor:
        return step["embedding"].new_zeros(())


def _model(encoder: Any = None, head: Any = None, **arguments: Any) -> oh.HierarchicalClassifier:
    return oh.HierarchicalClassifier(encoder or TinyEncoder(), {"kl": head or oh.SoftmaxHead()}, **arguments)


def _criterion(criterion: Focal) -> dict[str, Any]:
    return {"head": oh.SoftmaxHead(criterion=criterion)}


@pytest.mark.parametrize(
    ("component", "arguments", "message"),
    [
        (TinyEncoder(), lambda item: {"encoder": item}, "encoder: this encoder already belongs to"),
        (nn.Conv3d(1, 4, 3), lambda item: {"encoder": item},
         "encoder: the Conv3d of this encoder already belongs to another model"),
        (nn.Conv3d(1, 4, 3), lambda item: {"encoder": nn.Sequential(item)}, "encoder: the Conv3d of"),
        (oh.UncertaintyWeights(), lambda item: {"loss_weights": item}, "loss_weights: this weighting"),
        (Zero(), lambda item: {"terms": {"zero": item}}, r"terms\['zero'\]: this term already belongs to"),
        (Focal(), _criterion, r"heads\['kl'\]: the Focal of this head already belongs to another model"),
    ],
    ids=["encoder", "plain module", "inside another", "weighting", "term", "criterion"],
)  # fmt: skip
def test_a_component_of_another_model_is_refused(component: Any, arguments: Any, message: str) -> None:
    first = _model(**arguments(component))
    with pytest.raises(ValueError, match=message):
        _model(**arguments(component))
    _model(**arguments(copy.deepcopy(component)))
    del first
    _model(**arguments(component))


def test_layers_without_state_may_be_shared() -> None:
    activation = nn.ReLU()
    for _ in range(2):
        _model(nn.Sequential(nn.Conv3d(1, 4, 3), activation))


def test_one_criterion_in_two_heads_is_refused() -> None:
    criterion = CrossEntropy(class_weights="balanced")
    heads = {name: oh.SoftmaxHead(criterion=criterion, target="kl") for name in ("a", "b")}
    with pytest.raises(ValueError, match=r"heads\['b'\]: the CrossEntropy of this head .* heads\['a'\]"):
        oh.HierarchicalClassifier(TinyEncoder(), heads)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])  # noqa: S301
def test_copies_own_their_components(way: Any) -> None:
    model = way(_model())
    gc.collect()
    with pytest.raises(ValueError, match="encoder: this encoder already belongs to another model"):
        _model(model.encoder)
    batch = tiny_batch()
    assert torch.equal(model.eval()(batch["mri"])["kl"], copy.deepcopy(model)(batch["mri"])["kl"])


def test_a_model_that_could_not_be_made_owns_nothing() -> None:
    encoder, head = TinyEncoder(), oh.SoftmaxHead()
    for _ in range(2):
        with pytest.raises(ValueError, match="loss_weights must name exactly") as kept:
            _model(encoder, head, loss_weights={"ao": 1.0})
    assert kept.value is not None
    assert _model(encoder, head).encoder is encoder


@pytest.mark.parametrize("name", ["hierarchy", "axis", "saliency", "loss", "hierarchy_oa_kl"])
def test_names_of_groups_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"heads\['{name}'\]: this name is taken in metric keys"):
        oh.HierarchicalClassifier(TinyEncoder(), {name: oh.SoftmaxHead(target="kl")})
    with pytest.raises(ValueError, match=rf"terms\['{name}'\]: this name is taken in metric keys"):
        tiny_model(terms={name: Zero()})


def test_names_with_one_column_are_refused() -> None:
    heads = {"kl": oh.SoftmaxHead(), "kl_2": oh.BinaryHead(target="oa")}
    with pytest.raises(ValueError, match="heads 'kl' and 'kl_2': both need the column prob_kl_2"):
        oh.HierarchicalClassifier(TinyEncoder(), heads)
    fine = {"kl": oh.SoftmaxHead(), "kl_2": oh.SoftmaxHead(target="kl"), "kl_9": oh.BinaryHead(target="oa")}
    oh.HierarchicalClassifier(TinyEncoder(), fine)
