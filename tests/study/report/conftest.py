"""A synthetic study and its report, made once; and smaller ones on request."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from oahier.study.report import write, write_report


def load(path: Path) -> ModuleType:
    """A helper beside the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return load(Path(__file__).parents[1] / "synthetic_study.py")


@pytest.fixture(scope="session")
def study(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backbones, three supervisions, two seeds; one cell failed. Read it only."""
    odd = synthetic.Synthetic(odd_knee="<script>alert('K')</script>")
    return synthetic.write_study(tmp_path_factory.mktemp("study"), odd)


@pytest.fixture(scope="session")
def report(study: Path) -> Path:
    """The folder of the study's report."""
    return write_report(study).parent


@pytest.fixture(scope="session")
def html(report: Path) -> str:
    return (report / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def small(synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a small study; its report has figures on request, other arguments are those of ``Synthetic``."""

    def make(*, figures: bool = False, **entries: Any) -> Path:
        if not figures:
            monkeypatch.setattr(write, "_figures", lambda contents: iter(()))
        standard = {
            "backbones": ("resnet3d",), "supervisions": ("single-kl", "dual"), "seeds": ("0",), "failed": (),
            "knees": 15, "shown": 1, "saliency": ("gradcam",),
        }  # fmt: skip
        return synthetic.write_study(tmp_path / "study", synthetic.Synthetic(**(standard | entries)))

    return make
