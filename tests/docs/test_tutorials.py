"""Tutorials are followed to the letter, on data sets made small.

The shell blocks of a page are run one after another through the front door, in a folder that holds the data
set of the page in miniature and the repository's examples. What takes long is made small by options after
those of the page: volumes, epochs, encoders, resamples. Blocks of YAML and Python with a title become files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from docs.test_docs import ROOT, blocks, commands
from miniature.bright import write_bright_checkpoint
from miniature.hospital import make_hospital
from miniature.oai_years import make_oai_cohort
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
    ("data", "check"): ["--workers=0"],
    ("data", "cache"): [f"--data.shape={SHAPE}", "--workers=0"],
    ("fit",): [
        *TRAINER, f"--data.shape={SHAPE}", "--model.encoder.init_args.depth=10",
        "--model.encoder.init_args.width=8",
    ],
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
        if block.language == "python" and (name := titles(page).get(block.line)):
            (folder / name).write_text(block.code)
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


@pytest.mark.slow
def test_oai_longitudinal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_oai_cohort(folder / "OAI")
    follow(Path("tutorials/oai-longitudinal.md"), folder)
    said = capsys.readouterr().out
    assert "120 knees of 30 subjects, 0 with label maps" in said
    assert "V00: 60, V03: 60" in said
    assert "mirror_left: true" in Path("knees/data.yaml").read_text()
    config = yaml.safe_load(Path("runs/mine/config.yaml").read_text())
    assert config["data"]["mirror_left"] is True
    table = oh.read_manifest("knees/split.csv").table
    assert table.groupby("subject")["split"].nunique().eq(1).all(), "a person is in two parts"
    assert table.groupby("split")["subject"].nunique().gt(2).all()
    assert table.groupby("visit")["month"].first().to_dict() == {"V00": 0, "V03": 24}
    tested = table[table["split"] == "test"]
    grades = tested.pivot(index=["subject", "side"], columns="visit", values="kl")
    rose = grades["V03"] > grades["V00"]
    numbers = pd.read_csv("change/change.csv").set_index(["quantity", "of"])
    change = numbers.loc[("AUC of change, the grade is higher later", "severity_kl")]
    assert (change["knees"], change["events"]) == (len(tested) // 2, rose.sum())
    assert len(pd.read_csv("change/slopes.csv")) == len(tested) // 2
    assert '"share": 1.0' in Path("runs/change/pretrained.json").read_text()
    resolved = yaml.safe_load(Path("runs/change/config.yaml").read_text())
    assert resolved["data"]["init_args"]["mirror_left"] is True
    pairs = pd.read_csv("runs/change/predictions.csv")
    assert len(pairs) == len(tested) // 2, "every test knee was graded at both visits"
    assert (pairs["label_change"] == 2).sum() == rose.sum()


@pytest.mark.slow
def test_hospital(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = make_hospital(folder, patients=22)
    shutil.rmtree(export / "P002")  # its traps end in exit status 1, which tests/intake looks at
    shutil.rmtree(export / "P004" / "20240105" / "loc")
    write_bright_checkpoint(folder / "model.ckpt", shape=(12, 16, 16), spacing=(1.5, 1.5, 1.5))
    follow(Path("tutorials/hospital.md"), folder)
    assert "no image was copied" in capsys.readouterr().out
    pages = [path.stem for path in (folder / "predictions" / "pages").iterdir()]
    assert len(pages) > 38
    table = oh.read_manifest("knees/split.csv").table
    assert table.groupby("subject")["split"].nunique().eq(1).all()
    assert (table["side"] == "left").sum() > 15
    config = yaml.safe_load(Path("runs/mine/config.yaml").read_text())
    assert config["data"]["mirror_left"] is True
    predicted = pd.read_csv("runs/mine/predictions/predictions.csv", dtype={"knee": str})
    assert len(predicted) == len(pages)
    assert predicted["side"].isin(["left", "right"]).all()
    assert "data:image" in Path("audit.html").read_text(encoding="utf-8")
