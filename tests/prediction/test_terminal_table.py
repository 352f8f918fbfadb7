"""The table that ``oahier predict`` prints fits a terminal and breaks no name."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest
import torch
from miniature.bright import blob, write_bright_checkpoint, write_nifti

from oahier.cli import main
from oahier.cli.predict import predict_parser
from oahier.latent.training_knees import EmbeddingReference
from oahier.prediction import predict_scans
from oahier.prediction.one_knee import predict_knee
from oahier.saliency import default_methods


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A command that predicts two knees, both unlike the training knees."""
    values = torch.randn(90, 1, generator=torch.Generator().manual_seed(0)) + 40
    grades = (values[:60, 0] - 38).round().long().clamp(0, 4)
    reference = EmbeddingReference.fit(values[:60], grades, (grades >= 2).long(), values[60:])
    checkpoint = write_bright_checkpoint(
        tmp_path / "model.ckpt", shape=(12, 16, 16), spacing=(2.0, 2.0, 2.0), reference=reference
    )
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])).double().numpy()
    volume = blob((14, 16, 18), affine, (4, 5, 6), width=5)
    paths = [
        str(write_nifti(tmp_path / f"{name}.nii.gz", volume, affine))
        for name in ("right-knee", "subject-9001234-left")
    ]
    options = ["--side", "right", "--no-pages", "--output", str(tmp_path / "out")]
    return ["predict", str(checkpoint), *paths, *options]


def test_predictions_are_explained_as_tests_are() -> None:
    """One default: the method that found planted causes, not the one that costs nothing."""
    trusted = default_methods()[1].name
    assert predict_parser().parse_args(["model.ckpt", "scan.nii"]).method == trusted
    for function in (predict_scans, predict_knee):
        assert signature(function).parameters["method"].default == trusted


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_fits(
    width: int, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(words) == 0
    printed = capsys.readouterr().out
    table = printed[: printed.rindex("┘")]
    assert max(map(len, table.splitlines())) <= width
    rows = [line for line in table.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["right-knee", "subject-9001234-left"]
    assert "…" not in table
    heading = next(line for line in table.splitlines() if line.startswith("┃"))
    names = [name.strip() for name in heading.split("┃")[1:-1]]
    always = ["knee", "KL", "severity", "P(OA)", "unlike"]
    assert [name for name in names if name in always] == always
    assert ("percentile" in names) == (width == 200)
    assert ("side" in names) == (width > 60)
    assert all(row.split("│")[-2].strip() == "yes" for row in rows)
