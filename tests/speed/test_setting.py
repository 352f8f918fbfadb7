"""Trials that disturb nothing, and choices that are set and taken back."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from miniature.speeds import layout_wins
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import oahier as oh
from oahier.model.execution import Execution, set_layout
from oahier.speed import Speed, SpeedSetting, TrialError, fastest
from oahier.speed.setting import tried_before
from oahier.types import Batch

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
]


def knee(index: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(index)
    return {
        "mri": torch.randn((1, 12, 14, 12), generator=generator),
        "targets": {"oa": torch.tensor(int(index % 5 >= 2)), "kl": torch.tensor(index % 5)},
        "knee": f"knee-{index}",
        "subject": f"knee-{index}",
        "affine": torch.eye(4, dtype=torch.float64),
    }


class Knees(torch.utils.data.Dataset):
    """Twelve knees that remember in which order they were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.asked.append(index)
        return knee(index)


class Dropping(oh.Encoder):
    """Batch normalisation and dropout: buffers and random numbers that a trial may not touch."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(1, 8, 3, stride=2), nn.BatchNorm3d(8), nn.ReLU(), nn.Dropout(0.5)
        )

    def features(self, volume: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.layers(volume),)


def model() -> oh.HierarchicalClassifier:
    torch.manual_seed(0)
    return oh.HierarchicalClassifier(Dropping(), {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(5)})


def batches() -> list[Batch]:
    return [
        torch.utils.data.default_collate([knee(4 * start + index) for index in range(4)])
        for start in range(2)
    ]


def states() -> list[bytes]:
    return [
        torch.get_rng_state().numpy().tobytes(),
        repr(random.getstate()).encode(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002
    ]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[Speed]:
    """Real steps whose times are made up: channels_last takes half of eager's; nothing is compiled."""
    return layout_wins(monkeypatch)


def trainer_of(folder: Path, setting: SpeedSetting, **arguments: Any) -> L.Trainer:
    return L.Trainer(
        **{"max_epochs": 1, "enable_checkpointing": False, **arguments},
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0, default_root_dir=folder, callbacks=[setting], log_every_n_steps=1,
    )  # fmt: skip


def fitted(
    folder: Path, speed: Any, *, data: Knees | None = None, generator: bool = False
) -> tuple[oh.HierarchicalClassifier, list[bytes], Knees, SpeedSetting]:
    """A training of two epochs, with the random states at its end."""
    data, net, setting = data or Knees(), model(), SpeedSetting(speed)
    L.seed_everything(5, verbose=False)
    own = torch.Generator().manual_seed(3) if generator else None
    loader = DataLoader(data, batch_size=4, shuffle=True, generator=own)
    trainer = trainer_of(folder, setting, max_epochs=2)
    trainer.fit(net, loader)
    return net, states(), data, setting


@pytest.mark.parametrize("generator", [False, True])
def test_training_after_a_trial_is_bit_equal_to_one_that_names_the_choice(
    tmp_path: Path, pretended: list[Speed], generator: bool
) -> None:
    ours, random_after, asked, setting = fitted(tmp_path / "auto", "auto", generator=generator)
    assert setting.choice == Speed(channels_last=True)
    assert Speed(channels_last=True, compile=True) in pretended
    named, random_named, asked_named, _ = fitted(tmp_path / "named", setting.choice, generator=generator)
    for name, value in named.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    assert random_after == random_named
    assert asked.asked[-24:] == asked_named.asked, "the order of the data"
    assert sorted(asked_named.asked[:12]) == list(range(12))

    written = json.loads((tmp_path / "auto" / "speed.json").read_text())
    assert written["choice"] == {"precision": None, "channels_last": True, "compile": False}
    assert written["rows"][0]["speed"]["channels_last"] is False
    assert tried_before(tmp_path / "auto") == setting.choice
    assert tried_before(tmp_path / "named") is None


def test_trial_leaves_model_and_random_states_alone(pretended: list[Speed]) -> None:
    net = model()
    before, modes = copy.deepcopy(net.state_dict()), [one.training for one in net.modules()]
    random_before = states()
    trial = fastest(net, batches(), steps=8)
    assert trial.choice == Speed(channels_last=True)
    assert states() == random_before
    assert [one.training for one in net.modules()] == modes
    assert all(parameter.grad is None for parameter in net.parameters())
    for name, value in before.items():
        assert torch.equal(net.state_dict()[name], value), name


def test_a_choice_is_a_mapping_too() -> None:
    assert SpeedSetting({"channels_last": True}).choice == Speed(channels_last=True)


def test_layout_is_that_of_weights_and_volumes_while_training_and_taken_back(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Watching(Dropping):
        def __init__(self) -> None:
            super().__init__()
            self.second = nn.Conv3d(8, 8, 3)

        def features(self, volume: torch.Tensor) -> tuple[torch.Tensor, ...]:
            layout = torch.channels_last_3d
            inner = self.second(self.layers[0](volume))
            seen.append(inner.is_contiguous(memory_format=layout) and not inner.is_contiguous())
            return super().features(volume)

    net = oh.HierarchicalClassifier(Watching(), {"kl": oh.SoftmaxHead(5)})
    kept = list(net.parameters())
    trainer = trainer_of(tmp_path, SpeedSetting(Speed(channels_last=True)), enable_checkpointing=True)
    trainer.fit(net, DataLoader(Knees(), batch_size=4))
    assert seen
    assert all(seen)
    assert all(one is other for one, other in zip(kept, net.parameters(), strict=True))
    assert all(one.is_contiguous() for one in net.parameters())
    assert not net.execution.channels_last
    path = next(tmp_path.rglob("*.ckpt"))
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert list(weights) == list(net.state_dict())
    assert all(value.is_contiguous() for value in weights.values()), "as safetensors wants them"


def test_channels_last_changes_rounding_only() -> None:
    net, volume = model().eval(), torch.randn(2, 1, 12, 14, 12)
    with torch.no_grad():
        plain = net(volume)
        net.execution = Execution(channels_last=True)
        set_layout(net.encoder, channels_last=True)
        other = net(volume)
    for name, logits in plain.items():
        torch.testing.assert_close(other[name], logits, rtol=1e-4, atol=1e-5)


def test_precision_is_set_and_taken_back(tmp_path: Path) -> None:
    kinds: list[torch.dtype] = []

    class Listening(Dropping):
        def features(self, volume: torch.Tensor) -> tuple[torch.Tensor, ...]:
            maps = super().features(volume)
            kinds.append(self.layers[0](volume).dtype)
            return maps

    trainer = trainer_of(tmp_path, SpeedSetting(Speed(precision="bf16-mixed")))
    trainer.fit(
        oh.HierarchicalClassifier(Listening(), {"kl": oh.SoftmaxHead(5)}), DataLoader(Knees(), batch_size=4)
    )
    assert set(kinds) == {torch.bfloat16}
    assert trainer.precision == "32-true"


def test_precisions_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, SpeedSetting(Speed(precision="16-mixed")), precision="bf16-mixed")
    with pytest.raises(ValueError, match=r"16-mixed contradicts the trainer's bf16-mixed"):
        trainer.fit(model(), DataLoader(Knees(), batch_size=4))


def test_other_words_and_other_data_are_refused(tmp_path: Path, shapes_unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"expected none, auto or a choice .* got 'fast'"):
        SpeedSetting("fast")
    with pytest.raises(ValueError, match=r"no field 'chanels_last'. Did you mean 'channels_last'"):
        SpeedSetting({"chanels_last": True})
    with pytest.raises(ValueError, match=r"precision: expected one of 32-true, .* got 'fp8'"):
        SpeedSetting({"precision": "fp8"})
    with pytest.raises(TypeError, match=r"expected none, auto or a choice .* got bool"):
        SpeedSetting(True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one training batch or more"):
        fastest(model(), [])
    with pytest.raises(ValueError, match="expected 7 or more"):
        fastest(model(), batches(), steps=3)

    class Stream(IterableDataset):
        def __iter__(self) -> Any:
            return iter([knee(0), knee(1)])

    trainer = trainer_of(tmp_path, SpeedSetting("auto"))
    with pytest.raises(TrialError, match="map-style data set"):
        trainer.fit(model(), DataLoader(Stream(), batch_size=2))


def test_a_model_that_cannot_train_is_said_in_words(pretended: list[Speed]) -> None:
    wrong = batches()
    wrong[0]["mri"] = wrong[0]["mri"][:, :, :2, :2, :2]
    with pytest.raises(TrialError, match=r"could not be tried .*speed: none"):
        fastest(model(), wrong[:1])


def test_compiler_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    def broken(function: Any) -> Any:
        def fail(volume: torch.Tensor) -> Any:
            raise BackendCompilerFailed(lambda: None, RuntimeError("No working C++ compiler found"), None)

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    trial = fastest(model(), batches(), steps=8)
    row = next(row for row in trial.rows if row.speed.compile)
    assert row.verdict == "could not compile: No working C++ compiler found"
    assert not trial.choice.compile


def test_copy_of_a_compiled_model_compiles_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code belongs to the weights that it was made for."""
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function.__self__) or function)
    net = model().train()
    net.execution = Execution(compiled=True)
    net(batches()[0]["mri"])
    other = copy.deepcopy(net)
    other(batches()[0]["mri"])
    assert compiled == [net.encoder, other.encoder]
    with torch.no_grad():
        net(batches()[0]["mri"])
    net.eval()(batches()[0]["mri"])
    assert len(compiled) == 2, "evaluation is not compiled"
