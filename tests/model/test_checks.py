from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from miniature.training import Misleading, step
from torch import nn

import oahier as oh
from oahier.model.checks import check_against_data
from oahier.testing import tiny_batch, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


class Data:
    """What the checks ask of a data module."""

    def __init__(self, target_names: Sequence[str], volume_shape: tuple[int, int, int]) -> None:
        self.target_names, self.volume_shape = target_names, volume_shape


def _check(model: oh.HierarchicalClassifier, names: Sequence[str], shape: tuple[int, int, int]) -> None:
    check_against_data(model, Data(names, shape))


def test_head_without_its_column() -> None:
    with pytest.raises(ValueError, match=r"head 'kl' learns from target 'kl', .* delivers \['oa'\]"):
        _check(tiny_model(), ["oa"], (16, 16, 16))


def test_encoder_that_is_empty_at_this_size() -> None:
    module = nn.Sequential(nn.Conv3d(1, 2, 3), nn.MaxPool3d(8))
    model = oh.HierarchicalClassifier(module, {"oa": oh.BinaryHead()})
    with pytest.raises(ValueError, match="encoder Sequential does not work on volumes of 6x16x16 voxels"):
        _check(model, ["oa"], (6, 16, 16))


def test_encoder_of_another_width_than_declared() -> None:
    model = oh.HierarchicalClassifier(Misleading(), {"oa": oh.BinaryHead()})
    with pytest.raises(ValueError, match=r"Misleading: expected .* \(batch, 7\)"):
        _check(model, ["oa"], (16, 16, 16))


def test_checks_leave_modes_and_random_numbers() -> None:
    model = tiny_model()
    model.encoder.first.eval()
    before = [module.training for module in model.modules()], torch.get_rng_state()
    statistics = model.encoder.first[1].running_mean.clone()
    _check(model, ["oa", "kl"], (16, 16, 16))
    assert [module.training for module in model.modules()] == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.equal(model.encoder.first[1].running_mean, statistics)


def test_checks_pass_without_a_talkative_data_module() -> None:
    check_against_data(tiny_model(), None)


@pytest.mark.parametrize("shape", [(0, 1, 8, 8, 8), (2, 1, 8, 0, 8), (2, 8, 8, 8), (2, 3, 8, 8, 8)])
def test_volumes_must_be_volumes(shape: tuple[int, ...]) -> None:
    batch = tiny_batch()
    batch["mri"] = torch.zeros(shape)
    with pytest.raises(ValueError, match=r"mri: expected a batch of volumes \(batch, 1, i, j, k\)"):
        step(tiny_model(), batch)


@pytest.mark.parametrize("shape", [(2, 8, 8, 8), (8, 8, 8), (2, 3, 8, 8, 8), (0, 1, 8, 8, 8)])
def test_calling_a_model_on_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"mri: expected a batch of volumes \(batch, 1, i, j, k\)"):
        tiny_model()(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.float64, torch.float16])
def test_calling_a_model_on_other_numbers(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"mri: expected torch.float32, .* got {dtype}; convert"):
        tiny_model()(torch.zeros(1, 1, 8, 8, 8, dtype=dtype))
    model = tiny_model().to(torch.float64)
    assert model(torch.zeros(2, 1, 8, 8, 8, dtype=torch.float64))["kl"].dtype == torch.float64


def test_one_knee_and_batch_normalisation() -> None:
    model = oh.HierarchicalClassifier("timm3d/resnet18", {"oa": oh.BinaryHead()})
    batch = tiny_batch((1,), (32, 32, 32))
    with pytest.raises(ValueError, match=r"encoder .* cannot train on one knee of 32x32x32 .* batch_size"):
        step(model, batch)
    step(model.eval(), batch)


@pytest.mark.parametrize("label", [5, -2, 2.5, float("inf")])
def test_labels_out_of_range(label: int) -> None:
    batch = tiny_batch((0, 1))
    batch["targets"]["kl"] = torch.tensor([0, label])
    with pytest.raises(ValueError, match=rf"head 'kl': expected whole labels 0..4 .* got \[.*{label}.*\]"):
        step(tiny_model(), batch)


def test_batch_without_the_target() -> None:
    batch = tiny_batch()
    del batch["targets"]["oa"]
    with pytest.raises(ValueError, match=r"head 'oa' learns from target 'oa', but the batch has \['kl'\]"):
        tiny_model()._step(batch, "train")
