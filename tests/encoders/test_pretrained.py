"""Weights of files that the tests write, in the layouts of those who publish them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import oahier as oh
from oahier.encoders import (
    Encoder,
    MonaiEncoder,
    PretrainedError,
    Timm3dEncoder,
    as_encoder,
    load_pretrained,
    read_weights,
)
from oahier.testing import TinyEncoder

pytestmark = pytest.mark.usefixtures("one_thread")


def _saved(path: Path, network: nn.Module, prefix: str = "", **beside: Any) -> Path:
    state = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, **beside} if beside else state, path)
    return path


def _random(network: nn.Module) -> nn.Module:
    """With running statistics and scales that say whether they were loaded."""
    generator = torch.Generator().manual_seed(3)
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.ndim == 1:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5 * ("var" in name))
    return network.eval()


def _volume(*shape: int) -> Tensor:
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))


def _medicalnet(depth: int) -> nn.Module:
    """MedicalNet's network: MONAI's, but the last two stages are dilated instead of striding."""
    nets = pytest.importorskip("monai.networks.nets")
    padded = depth in (18, 34)
    network = getattr(nets, f"resnet{depth}")(
        spatial_dims=3, n_input_channels=1, num_classes=2, conv1_t_stride=2,
        shortcut_type="A" if padded else "B", bias_downsample=False,
    )  # fmt: skip
    for stage, dilation in ((network.layer3, 2), (network.layer4, 4)):
        for module in stage.modules():
            if isinstance(module, nn.Conv3d):
                module.stride = (1, 1, 1)
                if module.kernel_size == (3, 3, 3):
                    module.dilation = module.padding = (dilation,) * 3
            if padded and getattr(module, "downsample", None):
                module.downsample.keywords["stride"] = 1
    return _random(network)


@pytest.mark.parametrize(("depth", "shortcut"), [(10, "projection"), (18, "padding")])
def test_medicalnet_is_our_resnet(depth: int, shortcut: Any, tmp_path: Path) -> None:
    """The file as Tencent writes it (DataParallel); the embedding is the pooled last map of their network."""
    theirs = _medicalnet(depth)
    path = _saved(tmp_path / "resnet.pth", theirs, "module.", epoch=3)
    ours = oh.ResNet3D(depth, shortcut=shortcut).eval()
    report = load_pretrained(ours, path, minimum=1.0)
    assert (report.prefix, report.share, report.missing) == ("module.", 1.0, ())
    assert report.unused == ("module.fc.weight", "module.fc.bias")
    theirs.fc = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(ours(_volume(24, 24, 32)), theirs(_volume(24, 24, 32)))


def test_padded_shortcuts_are_missed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _saved(tmp_path / "resnet.pth", _medicalnet(18), "module.")
    with caplog.at_level(logging.INFO, "oahier"):
        report = load_pretrained(oh.ResNet3D(18), path)
    assert 0.99 < report.share < 1
    assert all(".shortcut." in name for name in report.missing)
    assert len(report.missing) == 15
    assert "as before: layers.1.0.shortcut.0.weight" in caplog.text


@pytest.mark.parametrize("name", ["resnet10", "densenet121", "seresnet50"])
def test_monais_own_files(name: str, tmp_path: Path) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    if name == "resnet10":
        theirs = nets.resnet10(spatial_dims=3, n_input_channels=1, num_classes=4)
    elif name == "densenet121":
        theirs = nets.DenseNet121(spatial_dims=3, in_channels=1, out_channels=4)
    else:
        theirs = nets.SEResNet50(spatial_dims=3, in_channels=1, num_classes=4)
    path = tmp_path / "network.safetensors"
    save_file(_random(theirs).state_dict(), path)
    ours = MonaiEncoder(name)
    report = load_pretrained(ours, path, minimum=1.0)
    assert report.share == 1
    assert len(report.unused) == 2  # the classifier
    weights = dict(theirs.named_parameters())
    theirs_by_ours = {own: native for native, own in ours.native_names().items()}
    for own, value in ours.named_parameters():
        assert torch.equal(value, weights[theirs_by_ours[own]])


def test_flat_network_is_inflated_as_timm_3d_does(tmp_path: Path) -> None:
    from timm_3d.models._builder import convert_2d_weights_to_3d
    from timm_3d.models._manipulate import adapt_input_conv

    timm = pytest.importorskip("timm")
    flat = _random(timm.create_model("resnet18", pretrained=False))
    path = tmp_path / "resnet18.safetensors"
    save_file(flat.state_dict(), path)
    ours, theirs = Timm3dEncoder("resnet18"), Timm3dEncoder("resnet18")
    report = load_pretrained(ours, path, minimum=1.0)
    assert set(report.unused) == {"fc.weight", "fc.bias"}
    state = dict(flat.state_dict())
    state["conv1.weight"] = adapt_input_conv(1, state["conv1.weight"])
    theirs.network.load_state_dict(convert_2d_weights_to_3d(state, verbose=False), strict=False)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)


def test_openmind(tmp_path: Path) -> None:
    """A whole U-Net as nnssl saves it; its decoder holds the encoder as well."""
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    from oahier.encoders import ResEnc

    features, blocks = (4, 8, 12), (1, 2, 1)
    torch.manual_seed(0)
    theirs = unet.ResidualEncoderUNet(
        input_channels=1, n_stages=3, features_per_stage=list(features), conv_op=nn.Conv3d,
        kernel_sizes=[[3] * 3] * 3, strides=[[1] * 3, [2] * 3, [2] * 3], n_blocks_per_stage=list(blocks),
        num_classes=1, n_conv_per_stage_decoder=[1, 1], conv_bias=True, norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    )  # fmt: skip
    plan = {"architecture_plans": {"arch_class_name": "ResEncL"}, "key_to_encoder": "encoder.stages"}
    path = tmp_path / "checkpoint_final.pth"
    weights = theirs.state_dict()
    torch.save({"network_weights": weights, "citations": [], "nnssl_adaptation_plan": plan}, path)
    ours = ResEnc(features, blocks)
    report = load_pretrained(ours, path, minimum=1.0)
    assert report.prefix == "encoder."
    assert any(name.startswith("decoder.encoder.") for name in report.unused)
    maps, expected = ours.features(_volume(16, 16, 8)), theirs.encoder(_volume(16, 16, 8))
    for ours_at, theirs_at in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours_at, theirs_at)
    assert ours.num_features == 12


@pytest.mark.slow
def test_openmind_of_full_size() -> None:
    pytest.importorskip("dynamic_network_architectures")
    encoder = as_encoder("resenc")
    assert sum(one.numel() for one in encoder.parameters()) == 90_296_576  # of version 0.4.4
    assert [one.shape[1] for one in encoder.features(_volume(32, 32, 32))] == [32, 64, 128, 256, 320, 320]


def test_without_the_extra_resenc_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dynamic_network_architectures", None)
    monkeypatch.delitem(
        __import__("sys").modules,
        "dynamic_network_architectures.building_blocks.residual_encoders",
        raising=False,
    )
    with pytest.raises(ImportError, match=r"pip install 'oahier\[openmind\]'"):
        oh.encoders.ResEnc()


def test_own_checkpoint_and_replacements(tmp_path: Path) -> None:
    """An encoder of one of our checkpoints, and a file whose names only a map knows."""
    source = _random(TinyEncoder())
    whole = nn.ModuleDict({"encoder": source, "heads": nn.Linear(2, 2)})
    fresh = TinyEncoder()
    report = load_pretrained(fresh, _saved(tmp_path / "our.ckpt", whole, optimizer_states=[{}]))
    assert report.prefix == "encoder."
    assert torch.equal(fresh.first[0].weight, source.first[0].weight)
    strange = {
        "net/" + name.replace("first.", "stage1_").replace("second.", "stage2_"): value
        for name, value in source.state_dict().items()
    }
    torch.save(strange, tmp_path / "strange.pt")
    rules = [["^stage1_", "first."], ["^stage2_", "second."]]
    report = load_pretrained(fresh, tmp_path / "strange.pt", prefix="net/", replace=rules, minimum=1.0)
    assert report.missing == report.unused == ()


def test_too_little_changes_nothing(tmp_path: Path) -> None:
    encoder: Encoder = TinyEncoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    path = _saved(tmp_path / "half.pt", nn.ModuleDict({"first": TinyEncoder().first}))
    with pytest.raises(PretrainedError, match=r"expected at least 90% .* as before: second.0.weight"):
        load_pretrained(encoder, path)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    report = load_pretrained(encoder, path, minimum=0.1)
    assert 0.1 < report.share < 0.5
    wide = _saved(tmp_path / "wide.pt", TinyEncoder(width=8))
    with pytest.raises(
        PretrainedError, match=r"of another shape: first.0.weight \(8, 1, 3, 3, 3\) for \(4, 1"
    ):
        load_pretrained(encoder, wide)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match="no such file"):
        read_weights(tmp_path / "none.pt")
    torch.save(TinyEncoder(), tmp_path / "pickle.pt")
    with pytest.raises(PretrainedError, match="not a file of plain tensors"):
        read_weights(tmp_path / "pickle.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(PretrainedError, match="not a whole safetensors file"):
        read_weights(tmp_path / "cut.safetensors")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(PretrainedError, match="no tensors by name"):
        read_weights(tmp_path / "empty.pt")
    broken = _random(TinyEncoder())
    broken.second[0].weight.data[0] = float("nan")
    with pytest.raises(PretrainedError, match=r"second.0.weight has values that are not finite"):
        load_pretrained(TinyEncoder(), _saved(tmp_path / "nan.pt", broken))
    same = {"a.first.0.weight": torch.ones(4, 1, 3, 3, 3), "b.first.0.weight": torch.ones(4, 1, 3, 3, 3)}
    torch.save(same, tmp_path / "same.pt")
    with pytest.raises(PretrainedError, match=r"a.first.0.weight and b.first.0.weight would both become"):
        load_pretrained(TinyEncoder(), tmp_path / "same.pt", prefix="", replace=[["^[ab].", ""]])
    with pytest.raises(ValueError, match="replace: expected pairs of a regular expression"):
        load_pretrained(TinyEncoder(), tmp_path / "same.pt", replace=[["("]])
