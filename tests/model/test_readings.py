"""Several readings of one label, and target columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import oahier as oh
from oahier.testing import TinyEncoder, tiny_batch, tiny_model
from oahier.types import MISSING, Batch

pytestmark = pytest.mark.usefixtures("one_thread")


def _step(model: oh.HierarchicalClassifier, batch: Batch, stage: str | None = None) -> Any:
    return model._step(batch, stage)


def _with(batch: Batch, **columns: Sequence[float]) -> Batch:
    batch["targets"] |= {name: torch.tensor(values) for name, values in columns.items()}
    return batch


def test_several_readings_are_averaged_over_those_that_exist() -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead(target=("kl", "kl_2"))}).eval()
    assert (model.target_of("kl"), model.targets_of("kl")) == ("kl", ("kl", "kl_2"))
    batch = _with(tiny_batch((0, 1, -1, -1)), kl_2=[2, -1, 4, -1])
    output = _step(model, batch)
    logits = output["logits"]["kl"]

    def nll(row: int, label: int) -> Tensor:
        return F.cross_entropy(logits[row], torch.tensor(label))

    expected = torch.stack([(nll(0, 0) + nll(0, 2)) / 2, nll(1, 1), nll(2, 4)])
    rows = output["row_losses"]["kl"]
    torch.testing.assert_close(rows[:3], expected)
    assert rows[3].isnan()
    torch.testing.assert_close(output["losses"]["kl"], expected.mean())
    assert output["targets"]["kl"].tolist() == [0, 1, MISSING, MISSING]
    again = oh.HierarchicalClassifier.from_specification(model.specification)
    assert again.targets_of("kl") == ("kl", "kl_2")
    with pytest.raises(ValueError, match="learns from target 'kl_2', but the batch has"):
        _step(model, tiny_batch(), "train")


def test_the_same_reading_twice_is_the_same_loss() -> None:
    twice = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead(target=["kl", "kl"])}).eval()
    once = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead()}).eval()
    once.load_state_dict(twice.state_dict())
    batch = tiny_batch((0, 3, -1))
    torch.testing.assert_close(_step(twice, batch)["loss"], _step(once, batch)["loss"])


class WidthHead(oh.Head):
    """Joint-space width in millimetres from a logit; narrow is class 1."""

    learns_from = "numbers"

    def __init__(self) -> None:
        super().__init__(2, num_logits=1)

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits[:, 0] - labels).square()

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return F.logsigmoid(torch.cat([logits - 3, 3 - logits], dim=1))

    def classes_of(self, values: Tensor) -> Tensor:
        return torch.where(values.isnan(), MISSING, (values < 3).long())


def test_a_head_may_learn_from_numbers() -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"width": WidthHead()}).eval()
    batch = _with(tiny_batch((0, 1, 2)), width=[4.5, torch.nan, 2.0])
    output = _step(model, batch)
    expected = (output["logits"]["width"][[0, 2], 0] - torch.tensor([4.5, 2.0])).square()
    torch.testing.assert_close(output["row_losses"]["width"][[0, 2]], expected)
    torch.testing.assert_close(output["losses"]["width"], expected.mean())
    assert output["row_losses"]["width"][1].isnan()
    assert output["targets"]["width"].tolist() == [0, MISSING, 1]
    with pytest.raises(ValueError, match="head 'width': expected finite numbers"):
        _step(model, _with(tiny_batch((0,)), width=[float("inf")]))


def test_whole_numbers_are_classes() -> None:
    model = tiny_model(("kl",))
    output = _step(model, _with(tiny_batch((0, 0, 0)), kl=[3.0, torch.nan, -1.0]))
    assert output["targets"]["kl"].tolist() == [3, MISSING, MISSING]
    assert output["targets"]["kl"].dtype == torch.int64


def test_prediction_needs_neither_readings_nor_numbers() -> None:
    heads = {"kl": oh.SoftmaxHead(target=("a", "b")), "width": WidthHead()}
    batch = tiny_batch()
    batch["targets"] = {}
    output = _step(oh.HierarchicalClassifier(TinyEncoder(), heads), batch)
    assert output["losses"] == {}
    assert output["targets"]["width"].tolist() == output["targets"]["kl"].tolist() == [MISSING, MISSING]
