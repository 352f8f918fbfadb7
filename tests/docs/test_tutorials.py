"""Tutorials are followed to the letter, on data sets made small.

The shell blocks of a page are run one after another through the front door, in a folder that holds the data
set of the page in miniature and the repository's examples. What takes long is made small by options after
those of the page: volumes, epochs, encoders, resamples. Blocks of YAML with a title become files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.test_docs import ROOT, blocks, commands
from miniature.oaizib_cm import make_oaizib_cm

import oahier as oh
from oahier.cli import main

SHAPE = "[12,16,16]"
QUIET = {
    "accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False, "enable_model_summary": False,
    "log_every_n_steps": 1, "logger": False,
}  # fmt: skip
TRAINER = [f"--trainer.{name}={str(value).lower()}" for name, value in QUIET.items()]
SMALL = {
    ("data", "import"): ["--workers=0", "--no-progress"],
    ("data", "cache"): [f"--data.shape={SHAPE}", "--workers=0"],
    ("fit",): [
        *TRAINER, f"--data.shape={SHAPE}", "--model.encoder.init_args.depth=10",
        "--model.encoder.init_args.width=8",
    ],
    ("study", "report"): ["--resamples=100"],
}  # fmt: skip
"""Options that are added to commands."""


def small_study(content: dict[str, Any]) -> dict[str, Any]:
    """A study of one small backbone and one seed."""
    base, grid = content["base"], content["grid"]
    base["trainer"] = {**base.get("trainer", {}), **QUIET}
    base["data"]["shape"] = yaml.safe_load(SHAPE)
    grid["seed"] = grid["seed"][:1]
    encoder = {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8}}
    grid["backbone"] = {next(iter(grid["backbone"])): {"model.encoder": encoder}}
    return content | {"saliency": ["gradcam"], "knees": 1}


def follow(page: Path, folder: Path, replace: Callable[[list[str]], list[str]] = lambda words: words) -> None:
    """Do what a tutorial says.

    Args:
        page: below ``docs``.
        folder: the working folder, which holds the data set under the name that the page uses.
        replace: changes the words of a command, or leaves it out by returning none.
    """
    (folder / "examples").symlink_to(ROOT / "examples")
    for block in blocks(ROOT / "docs" / page):
        if block.reason is not None:
            continue
        if block.language == "yaml" and (name := titles(page).get(block.line)):
            content = yaml.safe_load(block.code)
            (folder / name).write_text(yaml.safe_dump(small_study(content) if "grid" in content else content))
        if block.language == "bash":
            for words in commands(block):
                run(replace(words), f"{page}:{block.line}")


def titles(page: Path) -> dict[int, str]:
    """Names of files in the headers of blocks, by the line on which the block's content begins."""
    found = {}
    for number, line in enumerate((ROOT / "docs" / page).read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```") and 'title="' in line:
            found[number] = line.split('title="')[1].split('"')[0]
    return found


def run(words: list[str], place: str) -> None:
    """Run one command with the options that make it small; only ours are run."""
    if words[:1] != ["oahier"]:
        return
    words = words[1:]
    extra = next((more for start, more in SMALL.items() if tuple(words[: len(start)]) == start), [])
    assert main([*words, *extra]) == 0, f"{place}: {' '.join(words)}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Path:
    """An empty working folder with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OAHIER_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.slow
def test_oaizib_cm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_oaizib_cm(folder / "OAIZIB-CM", train=61, test=16)
    follow(Path("tutorials/oaizib-cm.md"), folder)
    said = capsys.readouterr().out
    assert "77 knees of 77 subjects, 77 with label maps" in said
    manifest = oh.read_manifest("knees/split.csv")
    assert manifest.table["split"].value_counts().to_dict() == {"train": 51, "test": 16, "val": 10}
    assert manifest.subset("test").table["knee"].tolist()[0] == "oaizib_405"
    assert (folder / "runs/mine/predictions.csv").read_text().count("\n") == 17
    assert len(list((folder / "runs/supervision/cells").glob("*/metrics.json"))) == 3
    page = (folder / "runs/supervision/report/index.html").read_text(encoding="utf-8")
    assert "single-oa" in page
    assert "methods.txt" in {path.name for path in (folder / "runs/supervision/report").iterdir()}
    shutil.rmtree(folder / "cache")
