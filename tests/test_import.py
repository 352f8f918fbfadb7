from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import oahier as oh

HEAVY = (
    "timm_3d", "timm", "monai", "umap", "wandb", "matplotlib", "torchio", "sklearn", "SimpleITK",
    "statsmodels", "pytorch_grad_cam", "nibabel", "captum",
)  # fmt: skip


def _loaded_after(statement: str) -> set[str]:
    """The heavy packages among the modules that a fresh interpreter has after a statement."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_import_alone_loads_next_to_nothing() -> None:
    loaded = _loaded_after("import oahier; dir(oahier)")
    assert "oahier" in loaded
    assert not loaded & {*HEAVY, "torch", "lightning", "numpy", "pandas"}


def test_model_heads_and_encoder_load_nothing_optional() -> None:
    """Lightning, and so its optional helpers, are there anyway; nothing more may come by our hand."""
    without = _loaded_after("import torch, lightning")
    names = (
        "HierarchicalClassifier, BinaryHead, SoftmaxHead, ResNet3D, PlainEncoder, UncertaintyWeights, make"
    )
    statement = (
        f"import torch, lightning\nfrom oahier import {names}\n"
        "HierarchicalClassifier(ResNet3D(10, 8), {'oa': BinaryHead(), 'kl': SoftmaxHead()})"
    )
    loaded = _loaded_after(statement)
    assert not (loaded - without) & set(HEAVY)
    assert "torch" in loaded


@pytest.mark.parametrize("name", [name for name in oh.__all__ if name != "__version__"])
def test_public_names_exist(name: str) -> None:
    value = getattr(oh, name)
    assert value.__name__ == name
    assert getattr(oh, name) is value
    assert value.__doc__


def test_public_names_are_few() -> None:
    assert dir(oh) == sorted(oh.__all__)
    assert len(oh.__all__) <= 50


def test_unknown_name_says_what_is_near() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'SoftmaxHed'\. Did you mean 'SoftmaxHead'\?"):
        oh.SoftmaxHed  # noqa: B018


def test_splitting_loads_no_framework_of_training() -> None:
    loaded = _loaded_after("import oahier.cli.data.split_command")
    assert {"oahier", "pandas"} <= loaded
    assert not loaded & {*HEAVY, "lightning", "torchmetrics", "torchvision"}


@pytest.mark.parametrize("room", ["callbacks", "data", "data.augmentation", "intake"])
def test_names_of_rooms_are_imported_when_they_are_asked_for(room: str) -> None:
    package = importlib.import_module(f"oahier.{room}")
    assert all(getattr(package, name) is getattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match=rf"module 'oahier.{room}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018
