"""Nothing is imported that a checkpoint or configuration names, unless its package is trusted."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import oahier as oh
from oahier.cli import main
from oahier.model.checkpoints import CheckpointError
from oahier.specs import SpecError, build, class_path, import_class, trusting
from oahier.specs.old_paths import OLD_PATHS
from oahier.specs.trust import is_trusted, named_packages
from oahier.study import PlanError, read_plan
from oahier.study.configuration import instantiate, resolve
from oahier.testing import TinyEncoder, tiny_trainer

PLANTED = """
from pathlib import Path
import oahier as oh

(Path(__file__).parent / "imported").touch()

class MyHead(oh.SoftmaxHead):
    pass
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module on the path that leaves a file where it is imported; says whether it was."""
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "planted_net.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    yield (folder / "imported").exists
    sys.modules.pop("planted_net", None)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Weights of a model whose head is named as one of the planted module."""
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead()})
    trainer = tiny_trainer(tmp_path)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    content["hyper_parameters"]["heads"]["kl"]["class_path"] = "planted_net.MyHead"
    torch.save(content, tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


REFUSED = r"'planted_net' is not trusted.*--trust planted_net.*OAHIER_TRUST=planted_net.*'oahier\.plugins'"


def test_checkpoint(planted: Any, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=REFUSED):
        oh.HierarchicalClassifier.load_from_checkpoint(checkpoint)
    assert not planted()
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(checkpoint, trust=["planted_net"])
    assert type(loaded.heads["kl"]).__name__ == "MyHead"
    assert planted()


def test_what_is_imported_already_needs_no_naming(planted: Any, checkpoint: Path) -> None:
    importlib.import_module("planted_net")
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(checkpoint)
    assert type(loaded.heads["kl"]) is sys.modules["planted_net"].MyHead


def test_environment(planted: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAHIER_TRUST", "other, planted_net")
    oh.HierarchicalClassifier.load_from_checkpoint(checkpoint)
    assert planted()


def test_prediction(planted: Any, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", str(checkpoint), str(checkpoint.parent / "scan.nii.gz")]
    assert main(words) == 2
    assert "--trust planted_net" in capsys.readouterr().err
    assert not planted()
    assert main([*words, "--trust", "planted_net"]) == 2
    assert "how volumes were preprocessed" in capsys.readouterr().err, "the class was found"
    assert planted()
    assert "planted_net" not in named_packages(), "trusted by that command only"


CONFIG: dict[str, Any] = {
    "model": {
        "encoder": {"class_path": "oahier.ResNet3D"},
        "heads": {"kl": {"class_path": "oahier.SoftmaxHead"}},
    },
    "data": {"manifest": "knees.csv", "shape": [8, 8, 8]},
}


def _status(words: list[str]) -> int:
    """Exit status of a command, whether the parser or the command ends it."""
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(
    "override",
    [
        {"model": {**CONFIG["model"], "heads": {"kl": {"class_path": "planted_net.MyHead"}}}},
        {"model": {**CONFIG["model"], "encoder": {"class_path": "planted_net.MyHead"}}},
        {"model": {**CONFIG["model"], "optimizer": {"class_path": "planted_net.MyHead"}}},
        {"model": {**CONFIG["model"], "loss_weights": {"class_path": "planted_net.MyHead"}}},
        {"trainer": {"callbacks": [{"class_path": "planted_net.MyHead"}]}},
        {"trainer": {"callbacks": "planted_net.MyHead"}},
        {"trainer": {"logger": {"class_path": "planted_net.MyHead"}}},
        {"trainer": {"strategy": {"class_path": "planted_net.MyHead"}}},
        {"data": {**CONFIG["data"], "split": {"class_path": "planted_net.MyHead"}}},
        {"data": {**CONFIG["data"], "augmentation": {"class_path": "planted_net.MyHead"}}},
        {"data": {**CONFIG["data"], "augmentation": "planted_net.MyHead"}},
    ],
)
def test_configurations(planted: Any, override: dict[str, Any]) -> None:
    config = {**CONFIG, **override}
    with pytest.raises(PlanError, match="--trust planted_net"):
        resolve(config, "cell")
    with pytest.raises(Exception, match="planted_net"):
        instantiate(config)
    assert not planted()


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "head.yaml"],
        ["--config", "encoder.yaml"],
        ["--model.encoder=planted_net.MyHead"],
        ["--model.encoder.help=planted_net.MyHead"],
        ["--print_config", "--trainer.callbacks+=planted_net.MyHead"],
    ],
)
def test_words_of_a_command(
    planted: Any,
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(yaml.safe_dump(CONFIG))
    Path("head.yaml").write_text("model: {heads: {kl: {class_path: planted_net.MyHead}}}")
    Path("encoder.yaml").write_text("model: {encoder: {class_path: planted_net.MyHead}}")
    assert _status(["fit", "--config=config.yaml", *words]) == 2
    assert "planted_net" in capsys.readouterr().err
    assert not planted()


def test_command_says_how_to_trust(
    planted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = {**CONFIG, "model": {**CONFIG["model"], "heads": {"kl": "planted_net.MyHead"}}}
    Path("config.yaml").write_text(yaml.safe_dump(config))
    assert _status(["fit", "--config=config.yaml", "--print_config"]) == 2
    assert "--trust planted_net" in " ".join(capsys.readouterr().err.split())
    assert not planted()
    assert _status(["fit", "--config=config.yaml", "--print_config", "--trust=planted_net"]) == 0
    assert "planted_net.MyHead" in capsys.readouterr().out
    assert planted()


def test_study_plan(planted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {
        "base": CONFIG,
        "grid": {"head": {"mine": {"model.heads.kl": {"class_path": "planted_net.MyHead"}}}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(plan))
    (cell,) = read_plan(tmp_path / "study.yaml").cells()
    with pytest.raises(PlanError, match="--trust planted_net"):
        resolve(cell.config, cell.name)
    assert main(["study", "run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "--trust planted_net" in capsys.readouterr().err
    assert not planted()
    with trusting("planted_net"):
        assert resolve(cell.config, cell.name)["model"]["heads"]["kl"]["class_path"] == "planted_net.MyHead"
    assert planted()
    with pytest.raises(PlanError, match="--trust planted_net"):
        resolve(cell.config, cell.name)


def test_names_of_packages_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"names of packages such as 'mynet', got '\.\./mynet'"):
        trusting("../mynet").__enter__()
    assert main(["predict", "model.ckpt", "scan.nii.gz", "--trust"]) == 2
    assert "--trust: expected the name of a package" in capsys.readouterr().err


def test_prefix_of_a_name_is_another_package() -> None:
    with trusting(["mynet.heads"]):
        assert is_trusted("mynet.heads.MyHead")
        assert not is_trusted("mynet.MyHead")
        assert not is_trusted("mynet.headstrong.MyHead")
    assert not is_trusted("torch_evil.Net")


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package may ask to be trusted; a folder that somebody works in may not."""
    information = tmp_path / "site" / "somenet-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: somenet\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[oahier.plugins]\nheads = somenet.heads:MyHead\n")
    assert not is_trusted("somenet.MyHead")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert is_trusted("somenet.MyHead")
    assert not is_trusted("somenets.MyHead")
    monkeypatch.chdir(tmp_path / "site")
    assert not is_trusted("somenet.MyHead")


def test_loaded_modules_are_only_looked_at() -> None:
    """A module that makes its names on demand is not asked to."""
    module = type(sys)("lazy_net")
    module.__getattr__ = lambda name: pytest.fail("code of the module ran")
    sys.modules["lazy_net"] = module
    try:
        with pytest.raises(SpecError, match="does not name a class"):
            build({"class_path": "lazy_net.Head"}, oh.Head)
        with pytest.raises(SpecError, match="'lazy_net' is not trusted"):
            build({"class_path": "lazy_net.heads.Head"}, oh.Head)
    finally:
        del sys.modules["lazy_net"]


@pytest.mark.parametrize("path", sorted(OLD_PATHS))
def test_paths_of_the_first_version(path: str) -> None:
    found = import_class(path)
    assert found.__name__ == path.rpartition(".")[2]
    assert class_path(found) == OLD_PATHS[path]


def test_public_paths() -> None:
    assert class_path(oh.SoftmaxHead) == "oahier.SoftmaxHead"
    assert class_path(oh.losses.FixedWeights) == "oahier.losses.FixedWeights"
    assert class_path(torch.optim.SGD) == "torch.optim.SGD"
    assert class_path(torch.optim.lr_scheduler.StepLR) == "torch.optim.lr_scheduler.StepLR"


def test_old_paths_in_configurations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = {"class_path": "oahier.data.splits.Folds", "init_args": {"test": 0}}
    config = {**CONFIG, "data": {**CONFIG["data"], "split": split}}
    resolved = resolve(config, "cell")
    assert resolved["data"]["split"]["class_path"] == "oahier.data.Folds"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    words = ["--trainer.callbacks=oahier.callbacks.run_log.RunLog", "--print_config"]
    assert _status(["fit", f"--config={tmp_path / 'config.yaml'}", *words]) == 0
    printed = capsys.readouterr().out
    assert "oahier.data.Folds" in printed
    assert "oahier.callbacks.RunLog" in printed
