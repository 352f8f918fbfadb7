from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import oahier as oh
from oahier.encoders import M3T, as_encoder
from oahier.encoders import m3t as m3t_module
from oahier.encoders.m3t import TransformerBlock
from oahier.encoders.slices import Packing, as_slice_encoder, slice_maps
from oahier.saliency.tail import TailExplainer
from oahier.testing import check_encoder, tiny_batch, tiny_batches, tiny_dataloader, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


class Slices(nn.Module):
    """A small network over images, with an output stride of 4."""

    def __init__(self, channels: int = 2, out_channels: int = 6) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, 2, 1), nn.BatchNorm2d(out_channels), nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, 2, 1), nn.BatchNorm2d(out_channels), nn.ReLU(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.layers(images)
        return maps


def tiny(**arguments: Any) -> M3T:
    given: dict[str, Any] = {
        "channels": 2,
        "slice_encoder": oh.make(Slices),
        "width": 16,
        "depth": 1,
        "heads": 2,
    }
    return M3T(**{**given, **arguments})


@pytest.mark.parametrize("shape", [(16, 16, 16), (9, 20, 33)])
def test_contract(shape: tuple[int, int, int]) -> None:
    check_encoder(tiny(), shape)


def test_contract_with_a_network_of_torchvision() -> None:
    check_encoder(M3T(2, "resnet18", 8, 1, 2, slices_at_once=24), (16, 24, 20))


def test_contract_in_lots_that_are_computed_again() -> None:
    check_encoder(tiny(slices_at_once=6, recompute=True), (12, 16, 20))


def test_published_number_of_parameters() -> None:
    """12.03 M, as printed in arXiv:2605.00718; positions are learned, whatever the volume."""
    encoder = as_encoder("m3t")
    assert isinstance(encoder, M3T)
    assert f"{sum(item.numel() for item in encoder.parameters()) / 1e6:.2f}" == "12.03"
    assert encoder.num_features == 128
    assert len(encoder.blocks) == 4
    assert encoder.blocks[0].heads == 8


def test_maps_are_as_fine_as_the_volume_and_in_cells_of_eight_voxels() -> None:
    encoder = tiny(slice_encoder="resnet18").eval()
    with torch.no_grad():
        first, last = encoder.features(torch.randn(1, 1, 64, 40, 32))
    assert first.shape == (1, 2, 64, 40, 32)
    assert last.shape == (1, 3 * 512 * 8 + 512 * 2, 8, 4, 4)  # 40 voxels: two strides of 32, two cells each


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*[st.integers(2, 70)] * 3), stride=st.sampled_from([1, 3, 8, 32]), fine=st.booleans())
def test_packing_loses_no_mean(shape: tuple[int, int, int], stride: int, fine: bool) -> None:
    """Whatever the sizes, the tokens of the packed map are the means over each slice's own map."""
    reduced = [-(-count // stride) for count in shape]
    generator = torch.Generator().manual_seed(sum(shape))
    maps = [
        torch.randn(
            2, shape[axis], 3, *(reduced[other] for other in range(3) if other != axis), generator=generator
        )
        for axis in range(3)
    ]
    packing = Packing.of(shape, maps, fine=fine)
    packed = packing.pack(maps)
    assert packed.shape[2:] == tuple(packing.grid)
    for found, expected in zip(Packing(shape, packed.shape[2:]).tokens(packed), maps, strict=True):
        torch.testing.assert_close(found, expected.mean(dim=(3, 4)))


def test_a_slice_lies_in_the_cell_at_its_place() -> None:
    """A voxel that is bright in the maps of all three planes is bright in the cell that it lies in."""
    shape, place = (40, 24, 64), (33, 5, 50)
    maps = [
        torch.zeros(1, shape[axis], 1, *(shape[o] // 8 for o in range(3) if o != axis)) for axis in range(3)
    ]
    for axis in range(3):
        maps[axis][(0, place[axis], 0, *(place[o] // 8 for o in range(3) if o != axis))] = 1
    packed = Packing.of(shape, maps, fine=True).pack(maps).sum(dim=1)[0]
    assert tuple(torch.nonzero(packed == 3)[0].tolist()) == tuple(p // 8 for p in place)
    assert packed.sum() == 3


def test_slices_come_back_in_order_whatever_the_lots() -> None:
    volume = torch.randn(2, 2, 13, 16, 12)
    network = Slices().eval()
    with torch.no_grad():
        for axis in range(3):
            expected = torch.stack(
                [network(volume.select(2 + axis, index)) for index in range(volume.shape[2 + axis])], 1
            )
            for at_once in (1, 5, 8, 1000):
                found = slice_maps(network, volume, axis, slices_at_once=at_once, recompute=False)
                torch.testing.assert_close(found, expected)


def test_lots_bound_what_passes_at_once() -> None:
    seen: list[int] = []
    network = Slices().eval()
    network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    slice_maps(network, torch.randn(2, 2, 13, 8, 8), 0, slices_at_once=8, recompute=False)
    assert max(seen) <= 8
    assert sum(seen) == 26


def test_computing_again_changes_neither_gradients_nor_running_statistics() -> None:
    volume = torch.randn(2, 1, 12, 16, 20)
    results = []
    for recompute in (False, True):
        torch.manual_seed(0)
        encoder = tiny(slice_encoder=Slices(), slices_at_once=10, recompute=recompute)
        encoder(volume).square().sum().backward()
        results.append(
            [*(item.grad for item in encoder.parameters()), *(item.clone() for item in encoder.buffers())]
        )
    for kept, again in zip(*results, strict=True):
        torch.testing.assert_close(again, kept, rtol=1e-4, atol=1e-6)


def test_attention_is_scaled_before_the_softmax() -> None:
    """softmax(q k' / sqrt(d_head)) v, head by head."""
    block = TransformerBlock(8, 2)
    tokens = 3 * torch.randn(1, 5, 8)
    query, key, value = block.query_key_value(tokens).chunk(3, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(query[..., head] @ key[..., head].transpose(1, 2) / 4**0.5, dim=-1)
        heads.append(weights @ value[..., head])
    torch.testing.assert_close(block._attention(tokens), torch.cat(heads, dim=-1))


def test_order_of_the_sequence() -> None:
    """[cls, coronal, sep, sagittal, sep, axial, sep]; axes of an RAS+ volume are sagittal, coronal, axial."""
    encoder = tiny()
    with torch.no_grad():
        for item in (encoder.positions, encoder.special_positions, encoder.planes):
            item.zero_()
        encoder.planes += torch.tensor([[10.0], [20.0], [30.0]])
        encoder.cls.fill_(1)
        encoder.separator.fill_(2)
        slices = [torch.full((1, count, 16), value) for count, value in ((3, 0.3), (2, 0.2), (1, 0.1))]
        sequence = encoder._sequence(slices)
    expected = torch.tensor([11, 10.2, 10.2, 12, 20.3, 20.3, 20.3, 22, 30.1, 32])
    torch.testing.assert_close(sequence[0, :, 0], expected)


def test_positions_are_places_in_the_field_of_view() -> None:
    encoder = tiny()
    ramp = torch.linspace(-1, 1, m3t_module._POSITIONS)
    with torch.no_grad():
        for item in (encoder.special_positions, encoder.planes):
            item.zero_()
        encoder.positions.copy_(ramp[None, :, None].expand_as(encoder.positions))
        full = encoder._sequence([torch.zeros(1, 128, 16)] * 3)[0, 1:129, 0]
        half = encoder._sequence([torch.zeros(1, 64, 16)] * 3)[0, 1:65, 0]
    torch.testing.assert_close(full, ramp)
    torch.testing.assert_close(half, (ramp[::2] + ramp[1::2]) / 2)


def test_trains_and_reloads_without_arguments(tmp_path: Path) -> None:
    model = oh.HierarchicalClassifier(tiny(), {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()})
    before = {name: item.clone() for name, item in model.named_parameters()}
    batches = tiny_batches(2)
    trainer = tiny_trainer(tmp_path)
    trainer.fit(model, tiny_dataloader(batches), tiny_dataloader(batches[:1]))
    assert all(
        not torch.equal(item, before[name]) for name, item in model.encoder.named_parameters(prefix="encoder")
    )
    trainer.save_checkpoint(tmp_path / "m3t.ckpt")
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(tmp_path / "m3t.ckpt").eval()
    volume = torch.randn(1, 1, 16, 20, 24)
    with torch.no_grad():
        torch.testing.assert_close(loaded(volume)["kl"], model.eval()(volume)["kl"])


@pytest.mark.parametrize("stage", [-1, 0])
@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_saliency_has_a_map(stage: int, method: Any) -> None:
    """Of one knee under both labels: what speaks for one class speaks against the other."""
    model = oh.HierarchicalClassifier(tiny(), {"oa": oh.BinaryHead()}).eval()
    mri = tiny_batch((4,), (16, 24, 20))["mri"].repeat(2, 1, 1, 1, 1)
    with torch.inference_mode():
        features = model.encoder.features(mri)
        explain = TailExplainer(model, "oa", method=method, stage=stage, score="true")
        against, for_it = explain(features, torch.tensor([0, 1]), mri, ["a", "b"])
    assert against.shape == for_it.shape == features[stage].shape[2:]
    assert bool((against * for_it == 0).all())
    assert float((for_it - against).std()) > 0


def test_saliency_of_the_last_map_does_not_run_the_slices_again() -> None:
    model = oh.HierarchicalClassifier(tiny(), {"kl": oh.SoftmaxHead()}).eval()
    batch = tiny_batch((4,), (16, 16, 16))
    features = model.encoder.features(batch["mri"])
    with mock.patch.object(Slices, "forward", side_effect=AssertionError):
        TailExplainer(model, "kl")(features, batch["targets"]["kl"], batch["mri"], batch["knee"])


def test_serial_form_of_the_slice_encoder() -> None:
    spec = {"class_path": f"{__name__}.Slices", "init_args": {"channels": 3, "out_channels": 4}}
    network, width = as_slice_encoder(spec, 3)
    assert type(network).__name__ == "Slices"
    assert width == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slice_encoder": "resnet81"}, "slice_encoder 'resnet81': expected one of .*mean 'resnet18'"),
        ({"slice_encoder": "vit_b_16"}, "slice_encoder 'vit_b_16': expected one of"),
        ({"width": 20, "heads": 8}, "width must be a multiple of heads, got width=20 and heads=8"),
        ({"depth": 0}, "M3T: depth must be at least 1, got 0"),
        ({"slices_at_once": 0}, "M3T: slices_at_once must be at least 1, got 0"),
        ({"slice_encoder": nn.Conv2d(3, 4, 1)}, "Conv2d does not work on images of 2 channels"),
        ({"slice_encoder": nn.Flatten()}, r"Flatten must return a map .*got \(1, 8192\); leave out"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)


def test_a_network_that_reduces_planes_differently_is_refused() -> None:
    encoder = tiny(slice_encoder=nn.Conv2d(2, 3, 3, stride=(1, 2), padding=1))
    with pytest.raises(ValueError, match="each axis is reduced alike in both planes"):
        encoder(torch.zeros(1, 1, 8, 8, 8))
