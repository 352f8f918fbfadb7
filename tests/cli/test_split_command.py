"""``oahier data split`` through its front door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from oahier.cli import main
from oahier.data import read_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """160 knees of 80 subjects, five grades, two sexes; no images are read."""
    (tmp_path / "a.nii.gz").write_bytes(b"")
    generator = np.random.default_rng(0)
    rows = [
        [f"{subject:03d}-{side}", f"{subject:03d}", side, "a.nii.gz", grade, sex]
        for subject in range(80)
        for sex in [generator.choice(["F", "M"])]
        for side, grade in zip(("left", "right"), generator.integers(0, 5, 2), strict=True)
    ]
    path = tmp_path / "knees.csv"
    pd.DataFrame(rows, columns=["knee", "subject", "side", "mri", "kl", "sex"]).to_csv(path, index=False)
    return path


def test_parts(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "split.csv"
    assert (
        main(["data", "split", str(manifest), str(out), "--val=0.2", "--test=0.25", "--stratify=kl,sex"]) == 0
    )
    text = capsys.readouterr().out
    table = read_manifest(out).table
    assert (table["split"] == "test").sum() == 40
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    counts = pd.crosstab(table["kl"], table["split"])
    for line in text.splitlines():
        if line.strip().startswith("KL 2"):
            numbers = line.replace("%", "").split()[2:]
            assert [int(n) for n in numbers[::2]] == [
                *counts.loc[2, ["train", "val", "test"]],
                counts.loc[2].sum(),
            ]
    assert "sex M" in text
    assert "largest deviation: " in text
    assert max(len(line) for line in text.split("next:")[0].splitlines() if "wrote" not in line) <= 80

    assert main(["data", "split", str(manifest), str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["data", "split", str(manifest), str(out), "--overwrite", "--seed=3"]) == 0
    assert (read_manifest(out).table["split"] == "test").sum() == 24


def test_splits_that_tear_a_subject_apart_are_made_anew(manifest: Path, tmp_path: Path) -> None:
    table = pd.read_csv(manifest, dtype=str)
    table["split"] = np.where(np.arange(len(table)) % 2, "train", "test")
    table.to_csv(manifest, index=False)
    assert main(["data", "split", str(manifest), str(tmp_path / "out.csv")]) == 0
    assert (read_manifest(tmp_path / "out.csv").table.groupby("subject")["split"].nunique() == 1).all()
    assert main(["data", "split", str(manifest), str(tmp_path / "kept.csv"), "--keep-test"]) == 2


def test_folds(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "split", str(manifest), str(tmp_path / "folds"), "--folds=4"]) == 0
    tables = [read_manifest(tmp_path / "folds" / f"fold-{number}.csv").table for number in range(4)]
    assert all(table["fold"].equals(tables[0]["fold"]) for table in tables)
    for number, table in enumerate(tables):
        assert (table.loc[table["split"] == "test", "fold"] == number).all()
        assert (table["split"] == "test").sum() == 40
        assert table.groupby("split")["kl"].nunique().tolist() == [5, 5, 5]
    assert "fold 3" in capsys.readouterr().out


def test_the_test_set_is_kept(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = tmp_path / "published.csv"
    assert main(["data", "split", str(manifest), str(tmp_path / "none.csv"), "--keep-test"]) == 2
    assert "expected knees of the split 'test', got none" in capsys.readouterr().err
    table = pd.read_csv(manifest, dtype=str)
    table["split"] = np.where(table["subject"] < "020", "test", "train")
    table.to_csv(published, index=False)
    assert main(["data", "split", str(published), str(tmp_path / "a.csv"), "--keep-test", "--val=0.25"]) == 0
    made = read_manifest(tmp_path / "a.csv").table
    assert (
        made.loc[made["split"] == "test", "knee"].tolist()
        == table.loc[table["split"] == "test", "knee"].tolist()
    )
    assert (made["split"] == "val").sum() == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep-test", "--test=0.2"], "leave --test and --folds out"),
        (["--folds=3", "--test=0.2"], "leave --test out"),
        (["--folds=1"], "--folds: expected 2 or more"),
        (["--val=0.9"], "add up to less than 1"),
        (["--stratify=kl,age"], "expected columns of the manifest, got 'age'"),
        (["--folds=100"], "at least 100 subjects"),
    ],
)
def test_bad_options(
    manifest: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "split", str(manifest), str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_class_is_not_left_out(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(manifest, dtype=str)
    table.loc[table["kl"] == "4", "kl"] = "3"
    table.loc[[5, 90], "kl"] = "4"
    table.to_csv(manifest, index=False)
    out = tmp_path / "split.csv"
    assert main(["data", "split", str(manifest), str(out)]) == 2
    error = capsys.readouterr().err
    assert "KL 4 is left out of" in error
    assert "2 in all" in error
    assert not out.exists()
    assert main(["data", "split", str(manifest), str(out), "--allow-missing-class"]) == 0
    assert "KL 4 is left out of" in capsys.readouterr().out
    assert read_manifest(out).table.query("kl == 4 and split == 'train'").shape[0] >= 1


def test_ids_that_are_nearly_the_same_are_refused(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(manifest.read_text().replace("007-left,007,", "007-left,7,"))
    assert main(["data", "split", str(manifest), str(tmp_path / "out.csv")]) == 2
    assert "subjects '7', '007' differ only by leading zeros" in capsys.readouterr().err
