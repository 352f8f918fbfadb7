"""Compilation for real: a minute and more."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

import oahier as oh
from oahier.speed import Speed, SpeedSetting, fastest
from oahier.testing import tiny_batch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


def model() -> oh.HierarchicalClassifier:
    torch.manual_seed(0)
    encoder = oh.ResNet3D(depth=10, width=8, norm="group")
    return oh.HierarchicalClassifier(encoder, {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(5)})


def fitted(folder: Path, speed: Speed) -> oh.HierarchicalClassifier:
    net = model()
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0, default_root_dir=folder, callbacks=[SpeedSetting(speed)], log_every_n_steps=1,
    )  # fmt: skip
    batches = [tiny_batch((0, 3, 1, 2), (12, 14, 12), seed=seed) for seed in range(3)]
    trainer.fit(net, DataLoader(batches, batch_size=None))
    return net


def test_compiled_training_is_that_of_eager_and_its_checkpoint_has_the_same_names(tmp_path: Path) -> None:
    eager = fitted(tmp_path / "eager", Speed())
    compiled = fitted(tmp_path / "compiled", Speed(compile=True, channels_last=True))
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-2, atol=3e-3)
    paths = [next((tmp_path / name).rglob("*.ckpt")) for name in ("eager", "compiled")]
    names = [list(torch.load(path, weights_only=True)["state_dict"]) for path in paths]
    assert names[0] == names[1]
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(paths[1])
    for name, value in compiled.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    volume = torch.randn(2, 1, 12, 14, 12)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(volume)["kl"], compiled.eval()(volume)["kl"])


def test_without_a_compiler_eager_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, str(tmp_path / "no-compiler")))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    trial = fastest(model(), [tiny_batch((0, 3, 1, 2), (12, 14, 12))], steps=8)
    row = next(row for row in trial.rows if row.speed.compile)
    assert row.verdict.startswith("could not compile: ")
    assert not trial.choice.compile
    with pytest.raises(ValueError, match=r"cannot be compiled here: .*compile: false"):
        fitted(tmp_path / "named", Speed(compile=True))
