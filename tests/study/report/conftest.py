"""A synthetic study and its report, made once; and smaller ones on request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from oahier.study.report import write, write_report


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
