"""A model card claims what was measured of the exported checkpoint, and says of the data what is known."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import oahier as oh
from oahier.data import Manifest
from oahier.export import export_checkpoint
from oahier.testing import tiny_trainer

SHAPE = (16, 24, 24)


def trainer_in(folder: Path) -> Any:
    return tiny_trainer(folder, callbacks=[oh.OrdinalMetrics(0)], max_epochs=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> oh.KneeMRIDataModule:
    """Phantoms whose manifest says who they are."""
    folder = tmp_path_factory.mktemp("knees")
    manifest = oh.make_phantoms(folder, knees=20, shape=SHAPE, progress=False)
    table = manifest.table.assign(
        sex=["F", "M"] * 10, age=[*range(50, 69), ""], licence="CC BY-NC 4.0",
        source=[f"secret/{number}.dcm" for number in range(20)],
    )  # fmt: skip
    return oh.KneeMRIDataModule(Manifest.from_table(table, folder), shape=SHAPE, cache=folder / "cache")


@pytest.fixture(scope="module")
def checkpoints(data: oh.KneeMRIDataModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run's ``best.ckpt`` and ``last.ckpt``, which differ in their weights."""
    run = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    model = oh.HierarchicalClassifier(oh.ResNet3D(10, 8), {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()})
    trainer = trainer_in(run)
    trainer.fit(model, data)
    trainer.save_checkpoint(run / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        model.heads["kl"].projection.bias += 1
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    return run / "checkpoints"


def card(checkpoint: Path, folder: Path) -> str:
    export_checkpoint(checkpoint, folder, formats=["safetensors"], overwrite=True)
    return (folder / "README.md").read_text(encoding="utf-8")


def figures(card: str) -> str:
    return card[card.index("## Figures") :].split("\n## ")[0]


def test_only_the_tested_checkpoint_gets_the_figures(
    data: oh.KneeMRIDataModule, checkpoints: Path, tmp_path: Path
) -> None:
    best, last = checkpoints / "best.ckpt", checkpoints / "last.ckpt"
    assert "No test was run" in figures(card(best, tmp_path / "untested"))
    model = oh.HierarchicalClassifier.load_from_checkpoint(best)
    for tested, other in ((best, last), (last, best)):
        options = {"ckpt_path": tested, "weights_only": True, "verbose": False}
        (values,) = trainer_in(checkpoints.parent).test(model, data, **options)
        claimed = figures(card(tested, tmp_path / tested.stem))
        assert f"| kl | MAE | {values['test/kl/mae']:.3f} |" in claimed
        assert f"On {len(data.manifest.subset('test'))} test knees of the run" in claimed
        refused = figures(card(other, tmp_path / other.stem))
        assert "This checkpoint was not tested" in refused
        assert f"`{tested.name}`" in refused
        assert "|" not in refused
    metrics = checkpoints.parent / "metrics.json"
    content = json.loads(metrics.read_text())
    metrics.write_text(json.dumps({**content, "stage": "val"}))
    assert "No test was run" in figures(card(last, tmp_path / "stage"))
    metrics.write_text("{")
    assert "No test was run" in figures(card(last, tmp_path / "damaged"))
    trainer_in(checkpoints.parent).test(model, data, verbose=False)
    in_memory = figures(card(last, tmp_path / "memory"))
    assert "This checkpoint was not tested" in in_memory
    assert "|" not in in_memory


def test_the_hash_is_that_of_the_file(checkpoints: Path, tmp_path: Path) -> None:
    best = checkpoints / "best.ckpt"
    hashed = hashlib.sha256(best.read_bytes()).hexdigest()
    assert f"| checkpoint | `best.ckpt`, SHA-256 `{hashed}` |" in card(best, tmp_path)
    facts = json.loads((tmp_path / "export.json").read_text())
    assert facts["checkpoint"] == {"name": "best.ckpt", "sha256": hashed}


def test_what_is_known_of_the_data_is_filled_in(
    data: oh.KneeMRIDataModule, checkpoints: Path, tmp_path: Path
) -> None:
    text = card(checkpoints / "best.ckpt", tmp_path)
    section = text[text.index("## Data") :].split("\n## ")[0]
    parts = [data.manifest.subset(split).table for split in ("train", "val", "test")]
    grades = [" / ".join(str(int((part["kl"] == grade).sum())) for grade in range(5)) for part in parts]
    ages = [pd.to_numeric(part["age"]).dropna() for part in parts]
    rows = {
        "": ["train", "val", "test"],
        "knees": [str(len(part)) for part in parts],
        "subjects": [str(part["subject"].nunique()) for part in parts],
        "KL 0 / 1 / 2 / 3 / 4": grades,
        "age, mean and standard deviation": [f"{age.mean():.1f} ± {age.std():.1f}" for age in ages],
    }
    for name, cells in rows.items():
        assert f"| {name} | {' | '.join(cells)} |" in section
    assert re.search(r"\| sex \| female \d+, male \d+ \|", section)
    assert "Terms of the data: CC BY-NC 4.0 (20 knees)." in section
    assert "Say here where the knees come from, who they are (sites) and how they were graded." in section
    assert "secret" not in text
    assert not any(knee in text for knee in data.manifest.table["knee"])


def test_what_is_not_known_of_the_data_is_left_to_the_author(checkpoints: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoints / "best.ckpt", weights_only=True)
    summary = content["KneeMRIDataModule"]["summary"]
    for part in summary["splits"].values():
        del part["sex"], part["age"]
    summary["licences"] = {}
    torch.save(content, tmp_path / "bare.ckpt")
    text = card(tmp_path / "bare.ckpt", tmp_path / "out")
    assert "Say here where the knees come from, under which terms, who they are (sex, age, sites)" in text
    assert "| sex |" not in text
    del content["KneeMRIDataModule"]["summary"]
    torch.save(content, tmp_path / "bare.ckpt")
    assert "## Data\n\nNot recorded in the checkpoint." in card(tmp_path / "bare.ckpt", tmp_path / "out")
