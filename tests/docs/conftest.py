"""Small phantoms and short trainings, so that what the documentation shows can be run as it is written."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning as L
import pytest

import oahier as oh
from oahier.latent import axis_kinds
from oahier.metrics import registry

KNEES = 20
SHAPE = (24, 32, 32)


SHORT = {
    "max_epochs": 1,
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "log_every_n_steps": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""What trainers get in place of what is asked for."""


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Axis kinds and metrics that a page registers are gone after the page."""
    with patch.dict(axis_kinds.AXIS_KINDS), patch.dict(registry._registry):
        yield


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where phantoms and preprocessed knees are kept, made once for all pages and examples."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def phantoms(shelf: Path) -> Any:
    """A manifest of few small phantoms."""
    return oh.make_phantoms(shelf / "phantoms", knees=KNEES, shape=SHAPE, progress=False)


@pytest.fixture
def small(shelf: Path, phantoms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder in which data sets are small; returns the folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OAHIER_CACHE", str(shelf / "cache"))
    make = oh.make_phantoms

    def kept(folder: Any, knees: int = 60, **options: Any) -> Any:
        if options.get("visits", 1) == 1:
            return phantoms
        named = ("visits", "interval", "rate", "knees_per_subject")
        asked = {name: options[name] for name in named if name in options}
        folder = "-".join(map(str, ["visits", *asked.values()]))
        return make(shelf / folder, knees=12, shape=SHAPE, progress=False, **asked)

    monkeypatch.setattr(oh, "make_phantoms", kept)
    return tmp_path


@pytest.fixture
def short(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As ``small``, and every trainer made in Python trains for one epoch on the CPU, quietly."""
    begin = L.Trainer.__init__

    @functools.wraps(begin)
    def quickly(self: L.Trainer, **options: Any) -> None:
        begin(self, **{**options, **SHORT})

    monkeypatch.setattr(L.Trainer, "__init__", quickly)
    return small
