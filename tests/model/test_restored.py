"""What a checkpoint says about a model's class and arguments comes back, or is asked for; never guessed."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import oahier as oh
from oahier.model.checkpoints import CheckpointError
from oahier.specs import SpecError, describe
from oahier.testing import TinyEncoder, tiny_batches, tiny_dataloader, tiny_model, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")

VOLUME = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))


class Tempered(oh.HierarchicalClassifier):
    """Divides logits by a temperature."""

    def __init__(self, encoder: Any, heads: Any, temperature: float = 1.0, **options: Any) -> None:
        super().__init__(encoder, heads, **options)
        self.temperature = temperature

    def logits_from_embedding(self, embedding: Tensor) -> dict[str, Tensor]:
        logits = super().logits_from_embedding(embedding)
        return {name: item / self.temperature for name, item in logits.items()}


class Small(oh.HierarchicalClassifier):
    """Has other arguments altogether."""

    def __init__(self, width: int, *, gate: nn.Module | None = None, callback: Any = None) -> None:
        super().__init__(TinyEncoder(width=width), {"kl": oh.SoftmaxHead()}, optimizer=torch.optim.SGD)
        self.gate, self.callback = gate, callback


class PassesOn(oh.HierarchicalClassifier):
    def __init__(self, *args: Any, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.temperature = temperature


def _save(model: oh.HierarchicalClassifier, folder: Path) -> Path:
    trainer = tiny_trainer(folder)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


def _predicted(model: oh.HierarchicalClassifier) -> Tensor:
    with torch.no_grad():
        return model.eval()(VOLUME)["kl"]


@pytest.mark.parametrize("asked", [oh.HierarchicalClassifier, Tempered])
def test_subclass_comes_back(asked: type[oh.HierarchicalClassifier], tmp_path: Path) -> None:
    model = Tempered(TinyEncoder(), {"kl": oh.SoftmaxHead()}, temperature=5.0)
    assert model.specification["temperature"] == 5.0
    loaded = asked.load_from_checkpoint(_save(model, tmp_path))
    assert type(loaded) is Tempered
    assert loaded.temperature == 5.0
    assert torch.equal(_predicted(model), _predicted(loaded))


def test_other_arguments_come_back(tmp_path: Path) -> None:
    model = Small(3, gate=oh.make(nn.PReLU, num_parameters=3))
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(_save(model, tmp_path))
    assert type(loaded) is Small
    assert loaded.encoder.num_features == model.encoder.num_features
    assert loaded.gate.num_parameters == 3
    again = oh.HierarchicalClassifier.load_from_checkpoint(_save(loaded, tmp_path))
    assert again.specification == model.specification


def test_arguments_that_are_passed_on(tmp_path: Path) -> None:
    model = PassesOn(TinyEncoder(), {"kl": oh.SoftmaxHead()}, temperature=2.0)
    loaded = PassesOn.load_from_checkpoint(_save(model, tmp_path))
    assert loaded.temperature == 2.0
    assert torch.equal(_predicted(model), _predicted(loaded))


def test_argument_without_serial_form_is_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _save(Small(3, callback=print), tmp_path)
    with pytest.raises(
        CheckpointError, match=r"the callback that .*load_from_checkpoint\(path, callback=\.\.\.\)"
    ):
        Small.load_from_checkpoint(path)
    assert Small.load_from_checkpoint(path, callback=len).callback is len


SUBCLASS = """
import oahier as oh

class Shifted(oh.HierarchicalClassifier):
    def logits_from_embedding(self, embedding):
        return {name: item + 1 for name, item in super().logits_from_embedding(embedding).items()}
"""


def test_subclass_that_is_not_trusted_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shifted_net.py").write_text(SUBCLASS)
    monkeypatch.syspath_prepend(tmp_path)
    model = importlib.import_module("shifted_net").Shifted(TinyEncoder(), {"kl": oh.SoftmaxHead()})
    path = _save(model, tmp_path)
    del sys.modules["shifted_net"]
    with pytest.raises(CheckpointError, match=r"written by shifted_net\.Shifted.*--trust shifted_net"):
        oh.HierarchicalClassifier.load_from_checkpoint(path)
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(path, trust="shifted_net")
    assert torch.equal(_predicted(model), _predicted(loaded))
    sys.modules.pop("shifted_net", None)


def test_another_class_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _save(Tempered(TinyEncoder(), {"kl": oh.SoftmaxHead()}), tmp_path)
    with pytest.raises(CheckpointError, match=r"written by .*Tempered, which is no PassesOn"):
        PassesOn.load_from_checkpoint(path)
    path = _save(oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead()}), tmp_path)
    with caplog.at_level(logging.WARNING, logger="oahier"):
        assert type(Tempered.load_from_checkpoint(path)) is Tempered
    assert "written by oahier.HierarchicalClassifier; as asked, it is loaded as its subclass" in caplog.text


def test_class_made_inside_a_function(tmp_path: Path) -> None:
    class Local(oh.HierarchicalClassifier):
        pass

    path = _save(Local(TinyEncoder(), {"kl": oh.SoftmaxHead()}), tmp_path)
    assert type(Local.load_from_checkpoint(path)) is Local
    with pytest.raises(CheckpointError, match=r"written by .*Local"):
        oh.HierarchicalClassifier.load_from_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("optimizer", {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.5)}),
        ("lr_scheduler", {"lr_scheduler": lambda made: torch.optim.lr_scheduler.StepLR(made, 1)}),
    ],
)
def test_lambda_is_not_replaced_by_a_default(
    name: str, given: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, data = tiny_model(**given), tiny_dataloader(tiny_batches(2))
    trainer = tiny_trainer(tmp_path)
    with caplog.at_level(logging.WARNING, logger="oahier"):
        trainer.fit(model, data, data)
    assert f"the {name} of this HierarchicalClassifier has no serial form" in caplog.text
    path = tmp_path / "fitted.ckpt"
    trainer.save_checkpoint(path)
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(path)
    assert torch.equal(_predicted(model), _predicted(loaded))
    message = rf"{name}: the checkpoint does not say how it was made.*pass {name}=\.\.\. to load_from"
    with pytest.raises(SpecError, match=message):
        tiny_trainer(tmp_path).fit(loaded, data, data)
    again = oh.HierarchicalClassifier.load_from_checkpoint(_save(loaded, tmp_path))
    with pytest.raises(SpecError, match=message):
        again.configure_optimizers()
    oh.HierarchicalClassifier.load_from_checkpoint(path, **given).configure_optimizers()


def test_checkpoint_of_the_first_version_with_a_lambda(tmp_path: Path) -> None:
    """It held None as optimizer, which cannot be given."""
    path = _save(tiny_model(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5)), tmp_path)
    content = torch.load(path, weights_only=True)
    del content["model"]
    torch.save(content, path)
    with pytest.raises(SpecError, match="optimizer: the checkpoint does not say"):
        oh.HierarchicalClassifier.load_from_checkpoint(path).configure_optimizers()


FACTORY = """
import torch

def make_sgd(parameters, lr=0.1):
    return torch.optim.SGD(parameters, lr=lr)

class Mine(torch.optim.SGD):
    pass
"""


@pytest.mark.parametrize("what", ["function", "partial", "class"])
def test_factories_of_a_package_of_the_users(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "factories_net.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("factories_net")
    made = {
        "function": functools.partial(module.make_sgd),
        "partial": functools.partial(module.make_sgd, lr=0.25),
        "class": functools.partial(module.Mine, lr=0.25),
    }
    path = _save(tiny_model(optimizer=made[what]), tmp_path)
    del sys.modules["factories_net"]
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(path)
    with pytest.raises(SpecError, match=r"optimizer: .*--trust factories_net.*pass optimizer="):
        loaded.configure_optimizers()
    assert "factories_net" not in sys.modules
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(path, trust=["factories_net"])
    assert loaded.configure_optimizers().param_groups[0]["lr"] == {"function": 0.1}.get(what, 0.25)
    sys.modules.pop("factories_net", None)


def test_functions_of_other_packages_are_never_called(tmp_path: Path) -> None:
    """A file may choose among optimizers, not among the functions of torch, or of the running program."""
    path = _save(tiny_model(), tmp_path)
    content = torch.load(path, weights_only=True)
    for function in ("torch.hub.load", "subprocess.run", f"{__name__}._save"):
        content["hyper_parameters"]["optimizer"] = {"class_path": function, "init_args": {}}
        torch.save(content, path)
        with pytest.raises(SpecError, match="is not trusted"):
            oh.HierarchicalClassifier.load_from_checkpoint(path).configure_optimizers()


def test_functions_are_described_by_path() -> None:
    assert describe(_save) == {"class_path": f"{__name__}._save", "init_args": {}}
    with pytest.raises(SpecError, match="defined inside a function"):
        describe(lambda: None)
